"""The shape of the tree: budgets and conventions that no linter knows; exceptions have reasons."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lineshaft_job_runner.job import TRANSITIONS
from lineshaft_monitor import rules

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".ci", "contracts", "docs", "examples", "infra", "libs", "services", "tests")
SERVICES = ("cdn-edge", "event-router", "gateway", "job-runner", "monitor")
MADE_BY_TOOLS = frozenset({"__pycache__", "node_modules", "results", ".pytest_cache"})

MODULE_LINES_MAX = 300
TEST_LINES_MAX = 450
FUNCTION_LINES_MAX = 50
MAIN_LINES_MAX = 40
COMMON_LINES_MAX = 2_000

LONGER_MODULES = {
    "contracts/src/lineshaft_contracts/jobs.py": (
        350,
        "one file holds every message of one service, so that it is read as one list",
    ),
    "contracts/src/lineshaft_contracts/monitoring.py": (
        310,
        "one file holds every message of one service, so that it is read as one list",
    ),
}
"""Modules over the budget: how long they may be at most, and why."""

LONGER_FUNCTIONS = {
    "services/gateway/src/lineshaft_gateway/routes/__init__.py create_app": (
        60,
        "wiring: every line names one part of the application",
    ),
}

LONGER_COMMON = (
    3_750,
    "messaging alone is 2,000 lines: its wire is our own, the library's costs 300 us per message",
)

FORBIDDEN_MODULES = frozenset(
    {"base", "common2", "helper", "helpers", "manager", "misc", "util", "utils"}
)
NOTE = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X)\b")
REGISTRY = re.compile(
    r"(?:pypi|pythonhosted|npmjs|crates|rubygems)[.](?:org|com|io)|(?:ghcr|quay)[.]io"
    r"|(?:deb|security)[.]debian[.]org|archive[.]ubuntu[.]com"
)

STORELESS = {"cdn-edge": "it has no database: what it stores is a cache in memory"}

UNDOCUMENTED_SETTINGS = {
    "http_host": "the address to listen on, as everywhere",
    "log_level": "its pattern lists the levels",
    "metrics_interval_seconds": "its name says what and in which unit",
    "postgres_url": "its type says what",
    "postgres_connections_max": "its name says what",
    "body_bytes_max": "its name says what and in which unit",
    "streams_max": "its name says what",
    "streams_per_tenant_max": "its name says what",
    "ring_frames_max": "told with ring_bytes_max",
    "heartbeat_seconds": "its name says what and in which unit",
    "sample_retention_days": "its name says what and in which unit",
    "span_retention_days": "its name says what and in which unit",
    "region": "one of the regions of the installation",
    "memory_bytes_max": "its name says what and in which unit",
    "variants_max": "its name says what",
    "upload_bytes_max": "its name says what and in which unit",
    "waiters_max": "its name says what",
    "wait_timeout_seconds": "its name says what and in which unit",
    "origin_connections_max": "its name says what",
    "origin_acquire_timeout_seconds": "its name says what and in which unit",
    "origin_connect_timeout_seconds": "its name says what and in which unit",
    "origin_head_timeout_seconds": "its name says what and in which unit",
    "origin_idle_timeout_seconds": "its name says what and in which unit",
    "gateway_url": "its type says what",
    "http_port": "its name says what",
    "object_store_url": "told in the settings that every service has",
    "sources_file": "told in the settings of the job-runner",
}
"""Fields whose name and type say everything; docs/operations.md explains every one."""

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


@cache
def files() -> tuple[Path, ...]:
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".env"]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return tuple(sorted(path for path in found if not _is_made_by_tools(path)))


def _is_made_by_tools(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return any(part in MADE_BY_TOOLS or part.endswith(".egg-info") for part in parts)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def modules(*, tests: bool = False) -> Iterator[tuple[Path, str]]:
    for path in files():
        is_test = "tests" in path.parts or path.name == "conftest.py"
        if path.suffix == ".py" and is_test == tests:
            yield path, text_of(path)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_a_module_holds_one_thing_and_is_short() -> None:
    too_long: list[str] = []
    for path, source in modules():
        lines_max, _ = LONGER_MODULES.get(name_of(path), (MODULE_LINES_MAX, ""))
        count = source.count("\n")
        if count > lines_max:
            too_long.append(f"{name_of(path)}: {count} lines, at most {lines_max}")
    assert too_long == []


def test_a_test_file_can_be_read_in_one_go() -> None:
    too_long: list[str] = []
    for path, source in modules(tests=True):
        lines_max, _ = LONGER_MODULES.get(name_of(path), (TEST_LINES_MAX, ""))
        if source.count("\n") > lines_max:
            too_long.append(f"{name_of(path)}: {source.count(chr(10))}, at most {lines_max}")
    assert too_long == []


def test_functions_are_short() -> None:
    too_long: list[str] = []
    for path, source in modules():
        for function in functions(ast.parse(source)):
            title = f"{name_of(path)} {function.name}"
            lines_max, _ = LONGER_FUNCTIONS.get(title, (FUNCTION_LINES_MAX, ""))
            if path.name == "__main__.py" and function.name == "main":
                lines_max = MAIN_LINES_MAX
            if lines_of(function) > lines_max:
                too_long.append(f"{title}: {lines_of(function)} lines, at most {lines_max}")
    assert too_long == []


def test_what_every_service_shares_stays_small() -> None:
    lines_max, reason = LONGER_COMMON
    assert lines_max > COMMON_LINES_MAX, f"no exception is needed any more: {reason}"
    common = ROOT / "libs" / "common" / "src"
    total = sum(source.count("\n") for path, source in modules() if common in path.parents)
    assert total <= lines_max


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name_of(path) for path, source in modules() if not ast.get_docstring(ast.parse(source))
    ]
    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [
        name_of(path)
        for path, _ in (*modules(), *modules(tests=True))
        if FORBIDDEN_MODULES & {path.stem, path.stem.rpartition("_")[2]}
    ]
    assert vague == []


def test_nothing_is_left_for_later() -> None:
    notes = [name_of(path) for path in files() if NOTE.search(text_of(path))]
    assert notes == []


def test_nobody_waits_in_a_way_that_can_lose_a_cancellation() -> None:
    # Before Python 3.12, a cancellation that meets the end of the wait is swallowed by wait_for.
    lossy = [
        name_of(path)
        for path, _ in (*modules(), *modules(tests=True))
        if "asyncio." + "wait_for(" in text_of(path)
    ]
    assert lossy == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    named = [name_of(path) for path in files() if REGISTRY.search(text_of(path))]
    assert named == []


def test_a_service_is_one_package_with_its_name() -> None:
    for service in SERVICES:
        folder = ROOT / "services" / service
        package = f"lineshaft_{service.replace('-', '_')}"
        project = tomllib.loads(text_of(folder / "pyproject.toml"))["project"]
        assert project["name"] == f"lineshaft-{service}"
        packages = [path.parent.name for path in (folder / "src").glob("*/__init__.py")]
        assert packages == [package]


def test_a_service_has_the_same_files_as_the_others() -> None:
    missing: list[str] = []
    for service in SERVICES:
        package = ROOT / "services" / service / "src" / f"lineshaft_{service.replace('-', '_')}"
        wanted = ["__init__", "__main__", "settings", "routes"]
        if service not in STORELESS:
            wanted.append("store")
            assert sorted((package / "migrations").glob("0001_*.sql")), f"{service}: migrations"
        missing += [
            f"{service}: {name}"
            for name in wanted
            if not (package / f"{name}.py").exists()
            and not (package / name / "__init__.py").exists()
        ]
    assert missing == []


def test_a_service_says_in_one_sentence_what_it_is_for() -> None:
    for service in SERVICES:
        package = ROOT / "services" / service / "src" / f"lineshaft_{service.replace('-', '_')}"
        tree = ast.parse(text_of(package / "__init__.py"))
        sentence = ast.get_docstring(tree) or ""
        assert len(tree.body) == 1, f"{service}: __init__ holds more than its docstring"
        assert sentence.endswith("."), service
        assert ". " not in sentence, service


def settings_fields() -> Iterator[tuple[Path, str, str, bool]]:
    """Give module, class, field and whether a docstring follows, of every settings class."""
    for path, source in modules():
        if path.name != "settings.py":
            continue
        for node in ast.parse(source).body:
            if not isinstance(node, ast.ClassDef):
                continue
            for field, after in zip(node.body, [*node.body[1:], None], strict=True):
                if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                    continue
                told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                yield path, node.name, field.target.id, told


def test_every_setting_is_explained_where_it_is_declared() -> None:
    unexplained = [
        f"{name_of(path)}: {owner}.{field}"
        for path, owner, field, told in settings_fields()
        if not told and field not in UNDOCUMENTED_SETTINGS
    ]
    assert unexplained == []


def test_every_setting_of_a_service_is_in_the_operators_tables() -> None:
    page = text_of(ROOT / "docs" / "operations.md")
    absent: list[str] = []
    for path, owner, field, _ in settings_fields():
        if ROOT / "examples" in path.parents or owner == "ChildSettings":
            continue  # The stand-in application; and the environment that a runner's child gets.
        variable = f"LINESHAFT_{field.upper()}"
        variable = "OTEL_EXPORTER_OTLP_ENDPOINT" if field == "traces_url" else variable
        if f"`{variable}`" not in page:
            absent.append(f"{name_of(path)}: {variable}")
    assert absent == []


def anchors_of(page: str) -> set[str]:
    """Return the anchors that headings get: lower case, words joined by hyphens."""
    without_code = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    titles = (re.sub(r"[`*]", "", title).lower() for title in HEADING.findall(without_code))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def test_links_between_documents_lead_somewhere() -> None:
    dead: list[str] = []
    for path in files():
        if path.suffix != ".md":
            continue
        prose = re.sub(r"^(?: {4}|\t).*$", "", text_of(path), flags=re.MULTILINE)
        for link in LINK.findall(prose):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            file = (path.parent / target) if target else path
            if not file.exists():
                dead.append(f"{name_of(path)}: {link}")
            elif anchor and file.suffix == ".md" and anchor not in anchors_of(text_of(file)):
                dead.append(f"{name_of(path)}: {link}: no such heading")
    assert dead == []


def test_the_diagram_of_job_states_is_the_table_of_transitions() -> None:
    arrows = re.findall(r"^ +(\w+) --> (\w+)", text_of(ROOT / "docs" / "jobs.md"), re.MULTILINE)
    table = {
        (str(state), str(after)) for state, following in TRANSITIONS.items() for after in following
    }
    assert set(arrows) == table


def test_every_packaged_alert_rule_is_explained() -> None:
    page = text_of(ROOT / "docs" / "alerts.md")
    assert [rule.name for rule in rules.load(None) if f"`{rule.name}`" not in page] == []


def test_every_exception_names_something_that_is_there() -> None:
    listed = {*LONGER_MODULES, *(title.partition(" ")[0] for title in LONGER_FUNCTIONS)}
    gone = [name for name in sorted(listed) if not (ROOT / name).exists()]
    assert gone == []
    lines = {name: text_of(ROOT / name).count("\n") for name in LONGER_MODULES}
    short = [name for name, count in lines.items() if count <= MODULE_LINES_MAX]
    assert short == [], "no exception is needed any more"
    fields = {field for _, _, field, _ in settings_fields()}
    assert sorted(UNDOCUMENTED_SETTINGS.keys() - fields) == []

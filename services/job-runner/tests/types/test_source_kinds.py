"""Data sources of every kind: secrets by reference, and no way from one tenant to another."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from lineshaft_job_runner.source_access import DataAccess
from lineshaft_job_runner.sources import SourceError, SourcesFile, SourcesFileError

ENTITIES = {"stock": {"columns": {"material": "text"}, "key": ["material"], "writable": True}}


def file(**sources: dict[str, Any]) -> SourcesFile:
    return SourcesFile.model_validate({"sources": sources})


def database(**more: Any) -> dict[str, Any]:
    return {"kind": "postgresql", "entities": ENTITIES, **more}


def access(sources: SourcesFile, environment: dict[str, str] | None = None) -> DataAccess:
    def unused(file: SourcesFile, name: str, *, tenant: str) -> Any:
        raise NotImplementedError

    return DataAccess(
        sources, open_source=unused, open_target=unused, environment=environment or {}
    )


def test_a_tenant_with_a_database_of_its_own_is_never_written_to_in_the_shared_one() -> None:
    sources = file(
        mes=database(
            url_env="SHARED",
            write_url_env="SHARED_W",
            tenants={
                "acme": {"url_env": "ACME"},
                "beta": {"url_env": "BETA", "write_url_env": "BETA_W"},
                "demo": {},
            },
        )
    )
    environment = {name: name.lower() for name in ("SHARED", "SHARED_W", "ACME", "BETA", "BETA_W")}
    assert sources.write_url("mes", tenant="beta", environment=environment) == "beta_w"
    assert sources.write_url("mes", tenant="demo", environment=environment) == "shared_w"
    with pytest.raises(SourceError) as raised:
        sources.write_url("mes", tenant="acme", environment=environment)
    assert raised.value.code == "source_not_writable"
    with pytest.raises(SourceError) as raised:
        sources.write_url("mes", tenant="other", environment=environment)
    assert raised.value.code == "source_tenant_unknown"


def test_an_address_may_be_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:p@h/d\n", encoding="utf-8")
    sources = file(mes=database(url_file=str(secret)))
    assert sources.url("mes", tenant="acme", environment={}) == "postgresql://u:p@h/d"
    secret.unlink()
    with pytest.raises(SourceError, match="is not set") as raised:
        sources.url("mes", tenant="acme", environment={})
    assert raised.value.code == "source_not_configured"


def test_a_source_of_another_kind_is_named(tmp_path: Path) -> None:
    sources = file(mes=database(url_env="A"), drop={"kind": "folder", "path": str(tmp_path)})
    for ask in (access(sources).endpoint, access(sources).bucket):
        with pytest.raises(SourceError, match="is of kind folder") as raised:
            ask("drop", tenant="acme")
        assert raised.value.code == "source_kind_wrong"
    with pytest.raises(SourceError, match="is of kind postgresql"):
        access(sources).folder("mes", tenant="acme")
    with pytest.raises(SourceError, match="is of kind folder"):
        sources.url("drop", tenant="acme", environment={})


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    root = tmp_path / "drop"
    (root / "in").mkdir(parents=True)
    (root / "in" / "stock.csv").write_text("material\n", encoding="utf-8")
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path)
    (root / "big").write_bytes(b"x" * 101)
    os.mkfifo(root / "pipe")
    return root


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../secret", "source_path_refused"),
        ("in/../../secret", "source_path_refused"),
        ("/etc/passwd", "source_path_refused"),
        ("in//stock.csv", "source_path_refused"),
        ("", "source_path_refused"),
        ("a\0b", "source_path_refused"),
        ("link", "source_file_missing"),
        ("up/secret", "source_file_missing"),
        ("missing", "source_file_missing"),
        ("in", "source_file_refused"),
        ("pipe", "source_file_refused"),
        ("big", "source_file_refused"),
    ],
)
def test_no_path_leads_out_of_a_folder(drop: Path, path: str, code: str) -> None:
    sources = file(drop={"kind": "folder", "path": str(drop), "bytes_max": 100})
    folder = access(sources).folder("drop", tenant="acme")
    with folder.open("in/stock.csv") as content:
        assert content.read() == b"material\n"
    with pytest.raises(SourceError) as raised:
        folder.open(path)
    assert raised.value.code == code


def test_each_tenant_has_its_own_folder(drop: Path) -> None:
    entry = {"kind": "folder", "tenants": {"acme": {"path": str(drop)}}}
    sources = access(file(drop=entry))
    sources.folder("drop", tenant="acme").open("in/stock.csv").close()
    with pytest.raises(SourceError) as raised:
        sources.folder("drop", tenant="beta")
    assert raised.value.code == "source_tenant_unknown"


async def test_objects_are_fetched_within_limits(drop: Path, tmp_path: Path) -> None:
    entry = {"kind": "object-store", "url_env": "LAKE", "bytes_max": 100}
    sources = access(file(lake=entry), {"LAKE": drop.as_uri()})
    bucket = sources.bucket("lake", tenant="acme")
    target = tmp_path / "fetched"
    assert await bucket.fetch("in/stock.csv", target) == 9
    assert target.read_bytes() == b"material\n"
    for key, code in (
        ("in/missing.csv", "source_file_missing"),
        ("../secret", "source_path_refused"),
        ("big", "source_file_refused"),
    ):
        with pytest.raises(SourceError) as raised:
            await bucket.fetch(key, target)
        assert raised.value.code == code
    with pytest.raises(SourceError, match="LAKE"):
        access(file(lake=entry)).bucket("lake", tenant="acme")


@pytest.mark.parametrize(
    ("entry", "finding"),
    [
        (database(url_env="A", url_file="/a"), "not in both"),
        (database(), "url_env is needed"),
        ({"kind": "postgresql", "url_env": "A"}, "queries, entities or both"),
        (database(url_env="A", entities={"e": {"columns": {"a": "text"}, "key": ["b"]}}), "key"),
        (database(url_env="A", entities={"e": {"table": "a; DROP", "columns": {"a": "text"},
                                               "key": ["a"]}}), "table"),
        (database(url_env="A", ledger_table='x"y'), "ledger_table"),
        ({"kind": "http", "base_url": "https://u:p@h/"}, "without a login"),
        ({"kind": "http", "base_url": "file:///etc/"}, "http"),
        ({"kind": "http", "base_url": "https://h/", "headers": {"A": {"env": "A", "file": "/a"}}},
         "in env or in file"),
        ({"kind": "folder", "path": "relative"}, "path"),
        ({"kind": "object-store"}, "url_env is needed"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused_with_its_place(
    tmp_path: Path, entry: dict[str, Any], finding: str
) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(yaml.safe_dump({"sources": {"one": entry}}), encoding="utf-8")
    with pytest.raises(SourcesFileError, match=r"sources\.one.*") as raised:
        SourcesFile.load(path)
    assert finding in str(raised.value)
    assert "u:p" not in str(raised.value)

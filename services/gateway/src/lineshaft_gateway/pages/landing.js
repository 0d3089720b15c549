// The state of the services, read from the API every ten seconds while the page is visible.
const KEY = "lineshaft-key";
const input = document.getElementById("key");
const message = document.getElementById("message");
const table = document.getElementById("services");
let timer = 0;

function cell(row, text, name = "") {
  const data = row.insertCell();
  data.textContent = text ?? "";
  data.className = name;
}

function show(health) {
  const body = table.tBodies[0];
  body.replaceChildren();
  for (const service of health.services) {
    const row = body.insertRow();
    cell(row, service.service);
    cell(row, service.instance);
    cell(row, service.state, service.state);
    cell(row, new Date(service.since).toLocaleString());
    cell(row, service.version);
  }
  table.hidden = health.services.length === 0;
  const checks = Object.entries(health.checks).map(([name, [check]]) => `${name}: ${check.status}`);
  const age = health.stale ? ", last known" : "";
  message.textContent = `System: ${health.status}${age} (${checks.join(", ")})`;
  message.className = health.status;
}

async function refresh() {
  clearTimeout(timer);
  const key = sessionStorage.getItem(KEY);
  if (!key) return;
  try {
    const response = await fetch("/api/system/health", { headers: { Authorization: `Bearer ${key}` } });
    const answer = await response.json();
    if (answer.services) show(answer);
    else {
      message.textContent = answer.detail || answer.title;
      message.className = "fail";
      if (response.status === 401) return sessionStorage.removeItem(KEY);
    }
  } catch (error) {
    message.textContent = `The gateway does not answer: ${error.message}`;
    message.className = "fail";
  }
  if (!document.hidden) timer = setTimeout(refresh, 10000);
}

document.getElementById("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, input.value.trim());
  input.value = "";
  refresh();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();

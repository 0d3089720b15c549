// The shop-floor page: the plant's lines and their work units. Needs no library.
const lines = [
  { name: "Line 1", product: "piston-ring-74", units: ["press-1", "washer-1"] },
  { name: "Line 2", product: "bushing-30", units: ["lathe-1", "grinder-1"] },
  { name: "Line 3", product: "piston-set-4", units: ["station-1", "tester-1"] },
];

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function card(line) {
  const units = line.units.map((unit) => element("li", { "data-unit": unit }, unit));
  return element(
    "section",
    { class: "line" },
    element("h2", {}, line.name),
    element("p", {}, line.product),
    element("ul", { class: "units" }, ...units),
  );
}

document.querySelector(".lines").replaceChildren(...lines.map(card));

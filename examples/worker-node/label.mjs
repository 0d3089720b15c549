// The job type `label.print`: one ZPL label with a Code 128 barcode for each container of a lot.
import { once } from "node:events";
import net from "node:net";

const printer = process.env.LABEL_PRINTER; // host:port, most printers listen on 9100.

export const labelPrint = {
  name: "label.print",
  title: "Print lot labels",
  description: "Prints one label for each container of a lot; without a printer it only makes the text.",
  parameters_schema: {
    type: "object",
    required: ["material_lot_id", "material_definition_id"],
    properties: {
      material_lot_id: { type: "string", minLength: 1, maxLength: 40 },
      material_definition_id: { type: "string", minLength: 1, maxLength: 40 },
      labels: { type: "integer", minimum: 1, maximum: 1000, default: 1 },
    },
  },
  result_schema: {
    type: "object",
    properties: { labels: { type: "integer" }, zpl: { type: "string" } },
  },
  example: { material_lot_id: "LOT-0007", material_definition_id: "piston-ring-74", labels: 4 },
  timeout_seconds: 120,
  attempts_max: 5,
};

export async function printLabels({ parameters, checkpoint }, context) {
  const { material_lot_id: lot, material_definition_id: material, labels = 1 } = parameters;
  const asked = typeof lot === "string" && typeof material === "string" && Number.isInteger(labels);
  if (!asked || labels < 1 || labels > 1000) {
    const error = new Error("a lot, a material and 1 to 1000 labels are needed");
    throw Object.assign(error, { code: "invalid_parameters", permanent: true });
  }
  for (let number = (checkpoint?.printed ?? 0) + 1; number <= labels; number += 1) {
    if (printer) await print(zpl(lot, material, number, labels), context.signal);
    // Stored before the next one: whoever goes on after a crash repeats one label at most.
    await context.checkpoint({ printed: number }, { done: number, total: labels, message: lot });
  }
  return { labels, zpl: zpl(lot, material, 1, labels) };
}

function zpl(lot, material, number, of) {
  const barcode = `${lot}-${String(number).padStart(4, "0")}`;
  return [
    "^XA^CI28",
    `^FO40,40^A0N,40,40${field(material)}`,
    `^FO40,100^A0N,30,30${field(`${number} / ${of}`)}`,
    `^FO40,150^BY2^BCN,100,Y,N,N${field(barcode)}`,
    "^XZ\n",
  ].join("\n");
}

// After ^FH_, characters that ZPL would take for commands are written in hexadecimal.
function field(text) {
  const hexadecimal = (character) => "_" + character.charCodeAt(0).toString(16).toUpperCase();
  return `^FH_^FD${text.replace(/[\^~_]/g, hexadecimal)}^FS`;
}

// The printer closes the connection when it has taken the label.
async function print(label, signal) {
  signal.throwIfAborted();
  const [host, port] = printer.split(":");
  const socket = net.connect(Number(port), host);
  const stop = () => socket.destroy(new Error("stopped"));
  signal.addEventListener("abort", stop);
  try {
    socket.resume().end(label);
    await once(socket, "close");
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

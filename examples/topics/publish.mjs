// Report one produced piece through the ingress: `publish.mjs [lane]`.
import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const [lane = "normal"] = process.argv.slice(2);
const event = {
  specversion: "1.0",
  id: randomUUID(), // Keep it when sending again: a repeated id is passed on once.
  source: "/acme/north/stamping/line-1/press-2",
  type: "plant.production.unit-produced.v1",
  time: new Date().toISOString(),
  tenant: "acme",
  priority: lane,
  data: {
    material_definition_id: "piston-ring-74",
    quantity: { good: { value: "1", uom: "pcs" } },
  },
};

const connection = await amqp.connect(process.env.PLANT_AMQP_URL);
const channel = await connection.createConfirmChannel();
channel.publish("plant.ingress", lane, Buffer.from(JSON.stringify(event)), {
  contentType: "application/cloudevents+json",
  persistent: true,
  messageId: event.id,
  type: event.type,
});
await channel.waitForConfirms();
console.log("sent", event.id);
await connection.close();

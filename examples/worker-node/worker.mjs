// A Lineshaft worker in Node, over AMQP alone: it offers a job type, fetches jobs of it, keeps their
// leases and reports how they ended. docs/jobs.md, "Workers in another language", has the rules.
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import amqp from "amqplib";
import { labelPrint, printLabels } from "./label.mjs";

const worker = process.env.WORKER_NAME ?? `labels-${os.hostname()}-${process.pid}`;
const jobsMax = 4;
const askSeconds = 5;
const running = new Map(); // By lease token: it alone entitles to speak about an attempt.
const questions = new Map(); // Without an answer so far, by correlation id.
let channel; // None while there is no connection.
let leaseSeconds = 15;
let stopping = false;

// Sends one message of the contracts, and returns the data of its reply.
async function ask(name, data, traceparent) {
  if (!channel) throw new Error("not connected");
  const [id, type, now] = [randomUUID(), `lineshaft.jobs.${name}-work.v1`, Date.now()];
  const envelope = {
    specversion: "1.0", id, type, source: "/workers/labels", tenant: "_platform",
    time: new Date(now).toISOString(), datacontenttype: "application/json",
    // So that nobody claims jobs for one who has given up waiting.
    expirytime: new Date(now + askSeconds * 1000).toISOString(),
    traceparent, data,
  };
  const answer = new Promise((resolve, reject) => questions.set(id, { resolve, reject }));
  const late = setTimeout(
    () => questions.get(id)?.reject(new Error(`no reply to ${type}`)), askSeconds * 1000,
  );
  try {
    channel.publish("jobs.work", "work", Buffer.from(JSON.stringify(envelope)), {
      contentType: "application/cloudevents+json", type, messageId: id, correlationId: id,
      replyTo: "amq.rabbitmq.reply-to", expiration: String(askSeconds * 1000), mandatory: true,
      headers: traceparent ? { tenant: "_platform", traceparent } : { tenant: "_platform" },
    });
    return await answer;
  } finally {
    clearTimeout(late);
    questions.delete(id);
  }
}

function onReply({ properties, content }) {
  const question = questions.get(properties.correlationId);
  const data = JSON.parse(content.toString());
  if (properties.type !== "lineshaft.problem.v1") question?.resolve(data);
  else question?.reject(Object.assign(new Error(`${data.title} ${data.detail}`), { code: data.code }));
}

async function connect() {
  const connection = await amqp.connect(process.env.LINESHAFT_AMQP_URL);
  const close = () => connection.close().catch(() => {}); // It may be closed already.
  connection.on("error", (error) => console.error(error.message)); // "close" follows.
  try {
    const opened = await connection.createChannel();
    opened.on("error", (error) => console.error(error.message)).on("close", close);
    opened.on("return", ({ properties }) =>
      questions.get(properties.correlationId)?.reject(new Error("there is no job-runner")));
    await opened.consume("amq.rabbitmq.reply-to", (got) => got && onReply(got), { noAck: true });
    const hints = { exclusive: true, arguments: { "x-max-length": 100 } };
    const { queue } = await opened.assertQueue(`labels.${randomUUID()}`, hints);
    await opened.bindQueue(queue, "jobs.events", `*.${labelPrint.name}.queued`);
    await opened.consume(queue, hint, { noAck: true });
    channel = opened;
    await offer();
    await once(connection, "close");
  } finally {
    channel = undefined;
    for (const { reject } of questions.values()) reject(new Error("the connection was cut"));
    await close();
  }
}

const offer = () => ask("offer", { worker, job_types: [labelPrint] });

let hinted = false;
let wake = () => {};
function hint() { // There may be something to fetch: a job was queued, or a place is free.
  hinted = true;
  wake();
}

async function fetchJobs() {
  const free = jobsMax - running.size;
  if (stopping || free <= 0 || !channel) return;
  const work = await ask("fetch", { worker, job_types: [labelPrint.name], jobs_max: free });
  leaseSeconds = work.lease_seconds;
  for (const job of work.jobs) void run(job);
}

async function run(job) {
  // The same trace with a span of our own: what is said about the job belongs to it.
  const [version, trace, , flags] = job.traceparent?.split("-") ?? [];
  const traceparent = trace && [version, trace, randomBytes(8).toString("hex"), flags].join("-");
  const attempt = { job, traceparent, abort: new AbortController(), started: Date.now() };
  const { signal } = attempt.abort; // The reason is cancelled, lost, released or timeout.
  const timer = setTimeout(() => attempt.abort.abort("timeout"), job.timeout_seconds * 1000);
  running.set(job.lease_token, attempt);
  const checkpoint = async (state, progress) => {
    Object.assign(attempt, { checkpoint: state, progress });
    await persist("checkpoint", attempt, () => beat([attempt], traceparent));
    signal.throwIfAborted();
  };
  let end;
  try {
    end = { outcome: "succeeded", result: await printLabels(job, { signal, checkpoint }) };
  } catch (error) {
    const { code = "unexpected_error", message = String(error), permanent = false } = error;
    const failure = { code: signal.reason ?? code, message, retryable: !permanent };
    const stopped = signal.reason === "cancelled" || signal.reason === "released";
    end = stopped ? { outcome: signal.reason } : { outcome: "failed", error: failure };
  }
  clearTimeout(timer);
  const { job_id, lease_token } = job;
  const run_seconds = (Date.now() - attempt.started) / 1000;
  const ends = [{ job_id, lease_token, run_seconds, progress: attempt.progress, ...end }];
  await persist("end", attempt, () => ask("end", { ends }, traceparent));
  running.delete(lease_token);
  console.log(JSON.stringify({ worker, job_id, attempt: job.attempt, trace, ...end }));
  hint();
}

// Until it is answered or the job is somebody else's. Saying it twice changes nothing.
async function persist(what, { abort }, say) {
  while (abort.signal.reason !== "lost") {
    try {
      return await say();
    } catch (error) {
      if (error.code === "invalid_input") throw error; // The same again would not help.
      console.error(`${what} not stored yet:`, error.message);
      await sleep(1000);
    }
  }
}

async function beat(attempts, traceparent) {
  if (attempts.length === 0) return;
  const beats = attempts.map(({ job: { job_id, lease_token }, progress, checkpoint }) =>
    ({ job_id, lease_token, progress, checkpoint }));
  const { held, cancelled } = await ask("beat", { beats }, traceparent);
  for (const { job, abort } of attempts) {
    if (!held.includes(job.lease_token)) abort.abort("lost"); // Stop, and say nothing more.
    else if (cancelled.includes(job.lease_token)) abort.abort("cancelled");
  }
}

async function forever(step, pause) {
  for (;;) {
    try {
      await step();
    } catch (error) {
      console.error(error.message);
      if (error.code === "job_type_built_in") process.exit(1);
      if (error.code === "job_type_not_offered") await offer().catch(() => {});
    }
    await pause();
  }
}

async function hintOrSecond() { // The hints make it quick, the second makes it sure.
  const timer = setTimeout(() => wake(), 1000);
  if (!hinted) await new Promise((resolve) => { wake = resolve; });
  clearTimeout(timer);
  hinted = false;
}

async function stop() { // Gives the jobs back; these attempts do not count.
  stopping = true;
  for (const { abort } of running.values()) abort.abort("released");
  for (let left = 100; running.size > 0 && left > 0; left -= 1) await sleep(50);
  process.exit(0);
}

process.once("SIGTERM", stop).once("SIGINT", stop);
void forever(connect, () => sleep(1000));
void forever(fetchJobs, hintOrSecond);
void forever(() => channel && offer(), () => sleep(60_000));
void forever(() => beat([...running.values()]), () => sleep((leaseSeconds / 3) * 1000));

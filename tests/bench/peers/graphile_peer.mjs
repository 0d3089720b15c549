// Graphile Worker on PostgreSQL: `worker` runs jobs, without an argument it is the client.
// Tuned as its page on performance says: a local queue, and completions in batches.
import fs from 'node:fs';
import readline from 'node:readline';
import { createRequire } from 'node:module';

const require = createRequire(process.env.BENCH_NODE_MODULES + '/');
const { run, makeWorkerUtils, Logger } = require('graphile-worker');

const connectionString = process.env.BENCH_POSTGRES_URL;
const logger = new Logger(() => () => {});
const BATCH = 500;

const now = () => (performance.timeOrigin + performance.now()) / 1000;

async function work() {
  const file = fs.openSync(process.env.BENCH_RECORDS, 'a');
  const record = Buffer.alloc(16);
  const note = async ({ submitted_at }) => {
    record.writeDoubleLE(submitted_at, 0);
    record.writeDoubleLE(now(), 8);
    fs.writeSync(file, record);
  };
  const preset = {
    worker: {
      connectionString, logger, concurrentJobs: 24, maxPoolSize: 10, pollInterval: 500,
      localQueue: { size: 1000, refetchDelay: { durationMs: 10 } },
      completeJobBatchDelay: 0, failJobBatchDelay: 0,
    },
  };
  await run({ preset, taskList: { note } });
}

async function serve() {
  const worker = await makeWorkerUtils({ connectionString, logger });
  await worker.migrate();
  const submit = async (count) => {
    for (let start = 0; start < count; start += BATCH) {
      const length = Math.min(BATCH, count - start);
      const jobs = Array.from({ length }, () => (
        { identifier: 'note', payload: { submitted_at: now() } }));
      await worker.addJobs(jobs);
    }
  };
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [count, rate] = line.split(' ').map(Number);
    const began = now();
    if (rate) {
      for (let number = 0; number < count; number += 1) {
        const wait = (began + number / rate - now()) * 1000;
        if (wait > 0) await new Promise((done) => setTimeout(done, wait));
        await submit(1);
      }
    } else await submit(count);
    console.log(now() - began);
  }
  await worker.release();
}

await (process.argv[2] === 'worker' ? work() : serve());

// node run.mjs SUITE_FOLDER EDGE_URL: run every test of the suite and print [{id, kind, passed, why}] as JSON.
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, edge] = process.argv.slice(2)
const address = file => pathToFileURL(path.join(folder, file)).href
const { default: fetch } = await import(
  pathToFileURL(createRequire(path.join(folder, 'index.js')).resolve('node-fetch')).href
)
const suites = (await import(address('tests/index.mjs'))).default
suites.push((await import(address('tests/surrogate-control.mjs'))).default)
const { runTests, getResults } = await import(address('client/runner.mjs'))
const { determineTestResult } = await import(address('lib/display.mjs'))

await runTests(suites, fetch, false, edge, 25)
const results = getResults()
const rows = suites
  .flatMap(suite => suite.tests)
  .filter(test => test.id in results)
  .map(test => ({
    id: test.id,
    kind: test.kind ?? 'required',
    passed: ['✅', 'Y'].includes(determineTestResult(suites, test.id, results)[2]),
    why: results[test.id] === true ? '' : results[test.id].join(': ')
  }))
console.log(JSON.stringify(rows))
process.exit(0)

// node run.mjs SUITE_FOLDER EDGE_URL AT_ONCE: run every test of the suite, so many at once, and
// print [{id, kind, passed, why}] as JSON. The suite's own runner waits for the slowest test of
// each batch; here a place that becomes free is used at once, and tests with pauses go first.
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, edge, atOnce] = process.argv.slice(2)
const address = file => pathToFileURL(path.join(folder, file)).href
const { default: fetch } = await import(
  pathToFileURL(createRequire(path.join(folder, 'index.js')).resolve('node-fetch')).href
)
const suites = (await import(address('tests/index.mjs'))).default
suites.push((await import(address('tests/surrogate-control.mjs'))).default)
const config = await import(address('client/config.mjs'))
const { makeCacheTest, testResults } = await import(address('client/test.mjs'))
const { determineTestResult } = await import(address('lib/display.mjs'))

config.setFetch(fetch)
config.setBaseUrl(edge)
config.setUseBrowserCache(false)
const pauses = test => test.requests.filter(request => 'pause_after' in request).length
const waiting = suites
  .flatMap(suite => suite.tests)
  .filter(test => test.browser_only !== true)
  .sort((one, other) => pauses(other) - pauses(one))
const place = async () => {
  while (waiting.length) await makeCacheTest(waiting.shift())
}
await Promise.all(Array.from({ length: Number(atOnce) }, place))
const rows = suites
  .flatMap(suite => suite.tests)
  .filter(test => test.id in testResults)
  .map(test => ({
    id: test.id,
    kind: test.kind ?? 'required',
    passed: ['✅', 'Y'].includes(determineTestResult(suites, test.id, testResults)[2]),
    why: testResults[test.id] === true ? '' : testResults[test.id].join(': ')
  }))
console.log(JSON.stringify(rows))
process.exit(0)

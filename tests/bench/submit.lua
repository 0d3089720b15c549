-- wrk's script: POST one job, count the answers by status, and print one line of JSON.
local threads = {}

wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY")

function setup(thread)
  table.insert(threads, thread)
end

function init(_)
  created, later, refused = 0, 0, 0
end

function response(status)
  if status == 201 then created = created + 1
  elseif status == 202 then later = later + 1
  else refused = refused + 1 end
end

function done(summary, latency, _)
  local all = { created = 0, later = 0, refused = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(all) do all[name] = all[name] + thread:get(name) end
  end
  io.write(string.format(
    '{"seconds":%.3f,"created":%d,"later":%d,"refused":%d,"p50_ms":%.2f,"p99_ms":%.2f}\n',
    summary.duration / 1e6, all.created, all.later, all.refused,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end

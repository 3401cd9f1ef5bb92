// SPDX-License-Identifier: Apache-2.0
// microbench/gbench.cc - the only C++ file: the C face of Google Benchmark.
#include "microbench/gbench.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace
{

using Run = benchmark::BenchmarkReporter::Run;

std::map<std::string, std::vector<Run>> measured; // by row name, in the library's order
const char roof_seconds[] = "roof_seconds";       // a counter of our own, not written

class Collector : public benchmark::BenchmarkReporter
{
  public:
    bool ReportContext(const Context &) override { return true; }
    void ReportRuns(const std::vector<Run> &runs) override
    {
        for (const Run &run : runs) {
            std::string name = run.run_name.function_name;
            if (!run.error_occurred) measured[name].push_back(run);
        }
    }
};

struct Progress {
    const gbench_options *options;
    size_t                done, total;
};

void time_row(benchmark::State &state, const gbench_row *row, Progress *progress)
{
    double roof = row->roof ? row->roof(row->ctx) : 0;
    for (auto _ : state) row->call(row->ctx);
    if (row->bytes > 0)
        state.SetBytesProcessed(
            static_cast<int64_t>(row->bytes * static_cast<double>(state.iterations())));
    if (row->ops > 0)
        state.counters["flops"] =
            benchmark::Counter(row->ops, benchmark::Counter::kIsIterationInvariantRate);
    if (row->roof) state.counters[roof_seconds] = std::min(roof, row->roof(row->ctx));
    progress->done++;
    if (progress->options->progress)
        progress->options->progress(progress->options->user, progress->done, progress->total);
}

double share_of_roof(const Run &run)
{
    const auto counter = run.counters.find(roof_seconds);
    if (counter == run.counters.end()) return 0;
    return 100 * counter->second.value * 1e9 / run.GetAdjustedRealTime();
}

double median(std::vector<double> *values)
{
    std::sort(values->begin(), values->end());
    return values->empty() ? 0 : (*values)[values->size() / 2];
}

// Names are ours to the letter; of the roof only the share is told.
void finish(Run *run, const gbench_row &row)
{
    const bool   is_one = run->run_type == Run::RT_Iteration;
    const double share  = is_one                            ? share_of_roof(*run)
                          : run->aggregate_name == "median" ? row.roofline_pct
                                                            : 0;
    run->run_name.time_type.clear();
    run->counters.erase(roof_seconds);
    if (row.label) run->report_label = row.label;
    if (share > 0) run->counters["roofline_pct"] = share;
}

} // namespace

void gbench_context(const char *key, const char *value)
{
    benchmark::AddCustomContext(key, value);
}

int gbench_run(gbench_row *rows, size_t count, const gbench_options *o)
{
    std::vector<std::string> text = {"ek", "--benchmark_enable_random_interleaving=true",
                                     "--benchmark_min_time=" + std::to_string(o->min_time),
                                     "--benchmark_repetitions=" + std::to_string(o->repetitions)};
    std::vector<char *>      argv;
    for (std::string &s : text) argv.push_back(&s[0]);
    int argc = static_cast<int>(argv.size());
    benchmark::Initialize(&argc, argv.data());

    Progress progress = {o, 0, count * o->repetitions};
    for (size_t i = 0; i < count; i++)
        benchmark::RegisterBenchmark(
            rows[i].name,
            [&progress](benchmark::State &state, const gbench_row *row) {
                time_row(state, row, &progress);
            },
            &rows[i])
            ->UseRealTime();
    Collector collector;
    benchmark::RunSpecifiedBenchmarks(&collector);
    benchmark::ClearRegisteredBenchmarks();

    size_t ran = 0;
    for (size_t i = 0; i < count; i++) {
        std::vector<double> times, shares;
        for (const Run &run : measured[rows[i].name]) {
            if (run.run_type != Run::RT_Iteration || times.size() == GBENCH_REPETITIONS_MAX)
                continue;
            times.push_back(run.GetAdjustedRealTime());
            shares.push_back(share_of_roof(run));
        }
        std::sort(times.begin(), times.end());
        std::copy(times.begin(), times.end(), rows[i].samples);
        rows[i].sample_count = times.size();
        rows[i].roofline_pct = median(&shares);
        ran += !times.empty();
    }
    return ran ? 0 : -1;
}

int gbench_write_json(const gbench_row *rows, size_t count, const char *path)
{
    std::ofstream           file(path);
    benchmark::JSONReporter reporter;
    reporter.SetOutputStream(&file);
    reporter.SetErrorStream(&file);
    if (!file || !reporter.ReportContext(benchmark::BenchmarkReporter::Context())) return -1;
    for (size_t i = 0; i < count; i++) {
        std::vector<Run> runs = measured[rows[i].name];
        for (Run &run : runs) finish(&run, rows[i]);
        if (!runs.empty()) reporter.ReportRuns(runs);
    }
    reporter.Finalize();
    file.flush();
    return file ? 0 : -1;
}

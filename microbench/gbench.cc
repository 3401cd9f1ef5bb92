// SPDX-License-Identifier: Apache-2.0
// microbench/gbench.cc - the only C++ file: the C face of Google Benchmark.
#include "microbench/gbench.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace {

using Run = benchmark::BenchmarkReporter::Run;

std::map<std::string, std::vector<Run>> measured; // by row name, in the library's order

class Collector : public benchmark::BenchmarkReporter {
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
    for (auto _ : state) row->call(row->ctx);
    if (row->bytes > 0)
        state.SetBytesProcessed(static_cast<int64_t>(row->bytes *
                                                     static_cast<double>(state.iterations())));
    if (row->ops > 0)
        state.counters["flops"] =
            benchmark::Counter(row->ops, benchmark::Counter::kIsIterationInvariantRate);
    progress->done++;
    if (progress->options->progress)
        progress->options->progress(progress->options->user, progress->done, progress->total);
}

// Share of the roof is inversely proportional to time, so each run's follows from the median's.
void finish(Run *run, const gbench_row &row)
{
    run->run_name.time_type.clear(); // names are ours to the letter
    if (row.label) run->report_label = row.label;
    const bool is_time = run->run_type == Run::RT_Iteration || run->aggregate_name == "mean" ||
                         run->aggregate_name == "median";
    const double time = run->GetAdjustedRealTime();
    if (is_time && time > 0 && row.roofline_pct > 0)
        run->counters["roofline_pct"] =
            row.roofline_pct * row.samples[row.sample_count / 2] / time;
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

    measured.clear();
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

    for (size_t i = 0; i < count; i++) {
        rows[i].sample_count = 0;
        for (const Run &run : measured[rows[i].name])
            if (run.run_type == Run::RT_Iteration && rows[i].sample_count < GBENCH_REPETITIONS_MAX)
                rows[i].samples[rows[i].sample_count++] = run.GetAdjustedRealTime();
        std::sort(rows[i].samples, rows[i].samples + rows[i].sample_count);
    }
    return measured.empty() ? -1 : 0;
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

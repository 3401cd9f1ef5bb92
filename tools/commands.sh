#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/commands.sh [EK] - every subcommand that runs a model, as a user would, on model/default: results
# that must agree do, bad input is refused in one line, what is interrupted leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
ek=$(realpath "${1:-build/release/tools/ek}")
model=$PWD/model/default
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "commands: $*" >&2
    exit 1
}
same() { # what, one, other
    [[ $2 == "$3" ]] || fail "$1 differ: '${2:0:200}' and '${3:0:200}'"
}
# refused STATUS COMMAND...: that status, one line on stderr, nothing on stdout
refused() {
    local want=$1 status=0
    shift
    "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
    [[ $status == "$want" && ! -s $work/out && $(wc -l <"$work/err") == 1 ]] ||
        fail "$* gave status $status, not $want with one line: $(cat "$work/err")"
}

echo "== run: the same text for any threads, the same ids as logits and tokenize give"
prompt="Once upon a time there was a little dog."
greedy=(run -m "$model" -p "$prompt" --temp 0 -n 40)
text=$($ek "${greedy[@]}" -t 1)
[[ ${#text} -gt 60 ]] || fail "too short a text: $text"
same "texts of 1 and 2 threads" "$text" "$($ek "${greedy[@]}" -t 2)"
sampled=(run -m "$model" -p "$prompt" -n 40 --seed 7)
same "texts of one seed" "$($ek "${sampled[@]}" -t 1)" "$($ek "${sampled[@]}" -t 2)"
ids=$($ek tokenize -m "$model" -p "$prompt")
same "text and its ids" "$prompt" "$($ek tokenize -m "$model" --decode "${ids// /,}")"
first=$($ek "${greedy[@]}" --ids | cut -d' ' -f1)
python3 - "$first" <($ek logits -m "$model" --ids "${ids// /,}" --last -o json) <<'PY'
import json, sys
row = json.load(open(sys.argv[2]))["logits"][-1]
assert max(range(len(row)), key=row.__getitem__) == int(sys.argv[1]), "the largest logit is another"
PY

echo "== chat by a pipe"
reply=$(printf 'Hello\n' | $ek chat -m "$model" --template zephyr --temp 0 -n 8 2>/dev/null)
[[ -n $reply ]] || fail "no reply"
refused 1 "$ek" chat -m "$model"

echo "== convert, info: whole or not at all"
$ek convert "$model" "$work/q4" --type q4
$ek info -m "$work/q4" --verify | grep -q ' checksums agree' || fail "checksums"
$ek run -m "$work/q4" -p "$prompt" --temp 0 -n 4 >/dev/null
cp -r "$work/q4" "$work/before"
for delay in 0.002 0.005 0.01 0.02; do
    $ek convert "$model" "$work/q4" --type f32 & pid=$!
    sleep "$delay"
    kill -9 $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    kind=$($ek info -m "$work/q4" --verify --json | grep -c '"broken": true' || true)
    same "broken tensors" 0 "$kind"
done
predicted=$($ek info -m "$model" --ctx 300 --kv i8 --json | grep -o '"kv_bytes": [0-9]*')
reported=$($ek speed -m "$model" -p 0 -n 8 -d 292 -r 1 -t 1 --kv i8 -o json | grep -o '"kv_bytes": [0-9]*')
echo "cache: predicted $predicted, reported $reported"

echo "== speed: JSON; memory within file, cache and 64 MB"
$ek speed -m "$model" -p 64 -n 16 -r 2 -t 1 -o json --memory 256 >"$work/speed.json" || true
python3 - "$work/speed.json" "$model/model.safetensors" <<'PY'
import json, os, sys
rows = json.load(open(sys.argv[1]))
assert [(r["n_prompt"], r["n_gen"]) for r in rows] == [(64, 0), (0, 16)]
for r in rows:
    assert r["avg_ts"] > 0 and len(r["samples_ts"]) == 2
    assert r["peak_rss"] < os.path.getsize(sys.argv[2]) + r["kv_bytes"] + 64e6, r["peak_rss"]
PY

echo "== ppl: of itself no divergence, of 4 bit some"
text=tests/fixtures/story.txt
$ek ppl -m "$model" -f $text --ctx 128 --kl-base-save "$work/base.kl" | tail -n 1 |
    grep -Eq '^Final estimate: PPL = [0-9.]+ \+/- [0-9.]+$' || fail "ppl"
$ek ppl -m "$model" -f $text --ctx 128 --kl-base "$work/base.kl" >"$work/same"
grep -Eq 'Mean KLD.* 0\.0000' "$work/same" || fail "$(cat "$work/same")"
$ek ppl -m "$work/q4" -f $text --ctx 128 --kl-base "$work/base.kl" >"$work/other"
grep -Eq 'Same top p' "$work/other" || fail "$(cat "$work/other")"
if grep -Eq 'Mean KLD.* 0\.0000' "$work/other"; then fail "$(cat "$work/other")"; fi
refused 1 "$ek" ppl -m "$model" -f $text --ctx 64 --kl-base "$work/base.kl"

echo "== ablate: what it foretells is what a run without the block has; nothing cut is the model"
$ek ablate -m "$model" -f $text --ctx 128 --chunks 4 --max-loss 40 --out "$work/cuts.json" >"$work/ablate"
[[ -z $(compgen -G "$work/cuts.json.base*") ]] || fail "ablate leaves the base's predictions behind"
ppl=(ppl -m "$model" -f "$text" --ctx 128 --chunks 4)
for layer in 0 2; do
    echo "{\"cut\": [$layer]}" >"$work/one.json"
    same "perplexities without MLP $layer" "$(awk "/^mlp $layer/ {print \$3}" "$work/ablate")" \
        "$($ek "${ppl[@]}" --lobotomy "$work/one.json" | sed -n 's/^Final.* = \([0-9.]*\) .*/\1/p')"
done
python3 - "$work/cuts.json" "$($ek "${ppl[@]}" --lobotomy "$work/cuts.json" | tail -n 1)" <<'PY'
import json, sys
made = json.load(open(sys.argv[1]))
assert 0 < len(made["cut"]) < len(made["greedy"]) and len(made["layers"]) == 5, made
assert made["cut"] == [{"layer": g["layer"], "what": "mlp"} for g in made["greedy"][:len(made["cut"])]]
assert f'{made["greedy"][len(made["cut"]) - 1]["ppl"]:.4f}' in sys.argv[2], sys.argv[2]
PY
echo '{"cut": []}' >"$work/none.json"
same "logits with nothing cut" "$($ek logits -m "$model" -p "$prompt")" \
    "$($ek logits -m "$model" -p "$prompt" --lobotomy "$work/none.json")"
echo '{"what": "layer", "cut": [0, 1, 2, 3, 4]}' >"$work/all.json"
$ek run -m "$model" -p "$prompt" -n 4 --lobotomy "$work/all.json" >/dev/null
echo '{"cut": [5]}' >"$work/bad.json"
refused 1 "$ek" run -m "$model" -p x --lobotomy "$work/bad.json"

echo "== profile"
$ek profile -m "$model" -f $text --ctx 128 --chunks 2 --out "$work/profile.json" --svg "$work/p.svg" >"$work/profile"
python3 - "$work/profile.json" "$work/p.svg" <<'PY'
import json, sys, xml.dom.minidom
r = json.load(open(sys.argv[1]))["results"]
assert r["tap"] == "mlp.hidden" and r["tokens"] > 100 and len(r["layers"]) == 5, r
for f in r["layers"]:
    assert 0 < f["fire_rate"] < 1 and 0 < f["gini"] < 1 and f["zipf_slope"] < 0 and f["top_mass"] > 0.2, f
    assert f["neurons_per_token"] == sorted(f["neurons_per_token"]) and f["neurons_per_token"][2] < 1, f
xml.dom.minidom.parse(sys.argv[2])
PY
refused 2 "$ek" profile -m "$model"
refused 1 "$ek" profile -m "$model" -f "$work/none"

echo "== --head certified: the same tokens, the likeliest and those drawn"
for how in "--temp 0" "--seed 11" "--seed 12 --top-k 64 --repeat-penalty 1.2"; do
    read -ra options <<<"$how"
    for kind in "$model" "$work/bf16"; do
        [[ -e $kind ]] || $ek convert "$model" "$kind" --type bf16
        same "texts of the head, certified and not, $how" "$($ek run -m "$kind" -p "$prompt" -n 60 "${options[@]}")" \
            "$($ek run -m "$kind" -p "$prompt" -n 60 "${options[@]}" --head certified)"
    done
done
$ek speed -m "$work/bf16" -p 0 -n 8 -r 1 -t 1 --head certified -o json >"$work/head.json"
python3 - "$work/head.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))[0]
assert 0 < r["head_bytes"] < 0.5 * 2 * 2048 * 256, r["head_bytes"]
assert 0 < r["head_pct"] < 100, r["head_pct"]
PY
refused 1 "$ek" run -m "$work/before" -p x --head certified

echo "== calibrate, --sparse: the share that was asked for; everything taken is the model"
for density in 0.3 1; do
    $ek calibrate -m "$model" -f $text --ctx 128 --density $density --out "$work/sparse$density.json" >/dev/null
    $ek "${ppl[@]}" -b 1 --kl-base-save "$work/one.kl" >/dev/null
    $ek "${ppl[@]}" --sparse "$work/sparse$density.json" --kl-base "$work/one.kl" >"$work/sparse$density"
done
python3 - "$work" <<'PY'
import json, re, sys
def seen(name, what):
    return float(re.search(what + r"\D*([0-9.]+)", open(f"{sys.argv[1]}/{name}").read()).group(1))
for density in ("0.3", "1"):
    reached = json.load(open(f"{sys.argv[1]}/sparse{density}.json"))["reached"]["mlp.gate"]
    assert all(abs(r - float(density)) < 0.01 for r in reached), reached
    assert abs(seen("sparse" + density, "Sparse weights read:") - 100 * float(density)) < 3
assert seen("sparse1", "Mean KLD:") < 1e-3 < seen("sparse0.3", "Mean KLD:")
PY
long=(run -m "$model" -p "$prompt" --temp 0 -n 20)
same "sparse texts of 1 and 2 threads" "$($ek "${long[@]}" -t 1 --sparse "$work/sparse0.3.json")" \
    "$($ek "${long[@]}" -t 2 --sparse "$work/sparse0.3.json")"
refused 1 "$ek" run -m "$work/before" -p x --sparse "$work/sparse1.json"
refused 1 "$ek" run -m "$model" -p x --sparse "$work/cuts.json"

echo "== train-router: the same bytes for any threads; always the whole head agrees"
learn=(-m "$model" -f "$text" --ctx 128 --epochs 2)
for t in 1 2; do
    $ek train-router "${learn[@]}" -t $t --out "$work/router$t" >"$work/router"
done
same "routers of 1 and 2 threads" "$(sha256sum <"$work/router1/router.safetensors")" \
    "$(sha256sum <"$work/router2/router.safetensors")"
python3 - "$work" <<'PY'
import sys
rows = [line.split() for line in open(sys.argv[1] + "/router") if line.count("%") == 4]
assert rows[0][:4] == ["-1", "100.00%", "100.00%", "0.00%"] and float(rows[0][4]) == 0, rows[0]
assert rows[-1][:2] == ["1", "0.00%"] and float(rows[-1][4]) > 0, rows[-1]
meta = dict(line.strip().split(": ") for line in open(sys.argv[1] + "/router1/meta.txt"))
assert meta["vocab_size"] == "2048" and meta["hidden_size"] == "256" and meta["labels"] == "argmax", meta
PY
echo "== calibrate --method teal: inputs of every product, the share that was asked for"
for how in "1 uniform" "0.6 uniform" "0.6 greedy"; do
    read -ra options <<<"$how"
    file=$work/teal${options[0]}${options[1]}
    $ek calibrate -m "$model" -f $text --ctx 128 --method teal --density "${options[0]}" --allocate "${options[1]}" \
        --out "$file.json" >/dev/null
    $ek "${ppl[@]}" --sparse "$file.json" --kl-base "$work/one.kl" >"$file"
done
python3 - "$work" <<'PY'
import re, sys
def seen(name, what):
    return float(re.search(what + r"\D*([0-9.]+)", open(f"{sys.argv[1]}/teal{name}").read()).group(1))
for name, share in (("1uniform", 100), ("0.6uniform", 60), ("0.6greedy", 60)):
    # greedy counts the bytes of matrices; columns this short are padded
    assert abs(seen(name, "Sparse weights read:") - share) < (5 if "greedy" in name else 3), name
    assert (seen(name, "Mean KLD:") < 1e-3) == (share == 100), name
PY
same "texts with thresholds of inputs of 1 and 2 threads" \
    "$($ek run -m "$model" -p "$prompt" --temp 0 -n 60 --sparse "$work/teal0.6greedy.json" -t 1)" \
    "$($ek run -m "$model" -p "$prompt" --temp 0 -n 60 --sparse "$work/teal0.6greedy.json" -t 2)"
refused 2 "$ek" calibrate -m "$model" -f "$text" --allocate greedy
refused 1 "$ek" run -m "$model" -p x --sparse "$work/teal0.6greedy.json" --predictor "$work/sparse1.json"

echo "== --head sliced, router: always the whole head is the model; a line a token"
route=(run -m "$model" -p "$prompt" -n 60 --router "$work/router1")
for how in "--temp 0" "--seed 11 --top-k 0"; do
    read -ra options <<<"$how"
    same "texts of a router that always asks the whole head, $how" "$($ek run -m "$model" -p "$prompt" -n 60 "${options[@]}")" \
        "$($ek "${route[@]}" "${options[@]}" --head router --router-threshold 0)"
    same "texts of a router that never does and of a slice, $how" "$($ek "${route[@]}" "${options[@]}" --head sliced)" \
        "$($ek "${route[@]}" "${options[@]}" --head router --router-threshold 1 -t 1)"
done
$ek "${route[@]}" --temp 0 --no-eos --ids --head router --head-verify --head-log "$work/head.jsonl" >"$work/head.ids" 2>/dev/null
python3 - "$work" <<'PY'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1] + "/head.jsonl")]
ids = [int(i) for i in open(sys.argv[1] + "/head.ids").read().split()]
assert len(lines) == len(ids) == 60 and [l["best"] for l in lines] == ids, (len(lines), len(ids))
assert [l["position"] for l in lines] == list(range(lines[0]["position"], lines[0]["position"] + 60))
assert all((l["head"] == "full") == (l["p_rare"] > 0.5) and l["agree"] == (l["best"] == l["full_best"]) for l in lines)
assert all(l["agree"] for l in lines if l["head"] == "full") and sum(l["agree"] for l in lines) > 30
PY
base=(ppl -m "$model" -f "$text" --ctx 128 --chunks 2)
same "perplexities of a router that always asks the whole head" "$($ek "${base[@]}" -t 2 | tail -n 1)" \
    "$($ek "${base[@]}" --head router --router "$work/router1" --router-threshold 0 | tail -n 2 | head -n 1)"
$ek "${base[@]}" --head sliced --router "$work/router1" | grep -q '^Impossible: [0-9]* of ' || fail "ppl of a slice"
refused 1 "$ek" run -m "$model" -p x --head sliced
refused 1 "$ek" run -m "$model" -p x --head router --router "$work/none"
refused 1 "$ek" run -m "$work/before" -p x --head router --router "$work/router1"
refused 1 "$ek" run -m "$model" -p x --head router --router "$work/router1" --head-log "$work/none/x"
refused 2 "$ek" train-router -m "$model"
refused 1 "$ek" train-router -m "$model" -f $text --ctx 4 --chunks 1 --out "$work/none"

echo "== train-predictor, --predictor: one that expects all is --sparse alone, bit for bit"
for t in 1 2; do
    $ek train-predictor "${learn[@]}" -t $t --rank 32 --thresholds "$work/sparse0.3.json" \
        --check-chunks 2 --out "$work/predictor$t" >"$work/predictor"
done
same "predictors of 1 and 2 threads" "$(sha256sum <"$work/predictor1")" "$(sha256sum <"$work/predictor2")"
awk '$1 ~ /^[0-4]$/ && $3 > 88 && $4 > $2 {n++} END {exit n != 5}' "$work/predictor" || fail "$(cat "$work/predictor")"
grep -q 'with predictors too: NLL' "$work/predictor" || fail "$(cat "$work/predictor")"
[[ -z $(compgen -G "$work/predictor?.*") ]] || fail "train-predictor leaves something behind"
for kind in "$model" "$work/bf16" "$work/before"; do
    plan=(--sparse "$work/sparse.json" --predictor "$work/all")
    $ek calibrate -m "$kind" -f $text --ctx 128 --density 0.3 --out "$work/sparse.json" >/dev/null
    $ek train-predictor -m "$kind" -f $text --ctx 128 --chunks 2 --epochs 1 --rank 8 --rule topk --value 1 \
        --thresholds "$work/sparse.json" --check-chunks 0 --out "$work/all" >/dev/null
    for steps in 1 3; do
        one=(logits -m "$kind" --ids "${ids// /,}" --steps "$steps")
        same "logits of $kind by $steps tokens, predicted all and not" \
            "$($ek "${one[@]}" "${plan[@]}" -t 2)" "$($ek "${one[@]}" "${plan[@]:0:2}" -t 1)"
    done
done
for density in 0.1 1; do
    $ek calibrate -m "$work/before" -f $text --ctx 128 --density $density --out "$work/sparse$density.json" >/dev/null
done
for share in 0.14 0.15; do # of packed gates: a neuron's rows together; panels of gates
    $ek train-predictor -m "$work/before" "${learn[@]:2}" --epochs 10 --rank 96 --rule topk --value $share \
        --thresholds "$work/sparse0.1.json" --check-chunks 0 --out "$work/few" >/dev/null
    $ek ppl -m "$work/before" -f $text --ctx 128 --chunks 2 --sparse "$work/sparse1.json" \
        --predictor "$work/few" >"$work/few$share"
done
python3 - "$work" <<'PY'
import re, sys
def seen(share, what):
    return float(re.search(what + r"\D*([0-9.]+)", open(f"{sys.argv[1]}/few{share}").read()).group(1))
for share in (0.14, 0.15):
    assert abs(seen(share, "Sparse weights read:") - 100 * share) < 0.2
assert abs(seen(0.14, "Gates computed:") - 14) < 0.2 and seen(0.15, "Gates computed:") > 60
assert abs(seen(0.15, "PPL =") / seen(0.14, "PPL =") - 1) < 0.05, (seen(0.14, "PPL ="), seen(0.15, "PPL ="))
PY
plan=(--sparse "$work/sparse0.3.json" --predictor "$work/predictor1")
same "texts with a predictor of 1 and 2 threads" "$($ek "${long[@]}" -t 1 "${plan[@]}")" \
    "$($ek "${long[@]}" -t 2 "${plan[@]}")"
$ek speed -m "$model" -p 0 -n 8 -r 1 -t 1 "${plan[@]}" -o json >"$work/speed.json"
python3 - "$work/speed.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))[0]
assert 0 < r["neurons_taken"] < r["gates_read"] <= 1 and r["predictor_bytes"] > 0, r
PY
refused 1 "$ek" run -m "$model" -p x --predictor "$work/predictor1"
refused 1 "$ek" run -m "$model" -p x --sparse "$work/sparse0.3.json" --predictor "$work/all"
refused 1 "$ek" train-predictor -m "$model" -f $text --out "$work/none"
refused 2 "$ek" train-predictor -m "$model" -f $text --thresholds x --value 2

echo "== neurons in the file: the same bits mapped, and read through caches of any size"
$ek convert "$model" "$work/neurons" --type same --neurons
$ek info -m "$work/neurons" --verify | grep -q ' checksums agree' || fail "checksums of neurons"
$ek calibrate -m "$work/neurons" -f $text --ctx 128 --density 0.3 --out "$work/stored.json" >/dev/null
stored=(-m "$work/neurons" --sparse "$work/stored.json")
mapped=$($ek run "${stored[@]}" -p "$prompt" --temp 0 -n 60 --ids -t 1)
for cache in 1 2 20; do
    for threads in 1 2; do
        same "ids with a weight cache of $cache MiB, $threads threads" "$mapped" \
            "$($ek run "${stored[@]}" -p "$prompt" --temp 0 -n 60 --ids -t $threads --weight-cache $cache)"
    done
done
ppl=(ppl "${stored[@]}" -f "$text" --ctx 128 --chunks 2)
same "perplexities with a weight cache" "$($ek "${ppl[@]}")" "$($ek "${ppl[@]}" --weight-cache 2)"
sed "s/$(grep -o '"checksum": "[0-9a-f]*"' "$work/stored.json" | head -n 1)/$(
    grep -o '"checksum": "[0-9a-f]*"' "$work/sparse0.3.json" | head -n 1)/" "$work/stored.json" >"$work/made.json"
few=(-p "$prompt" -b 1 --temp 0 -n 20 --ids) # token by token: no step takes all neurons
same "ids of neurons stored and made at load" "$($ek run "${stored[@]}" "${few[@]}")" \
    "$($ek run -m "$model" --sparse "$work/made.json" "${few[@]}")"
$ek run -m "$work/neurons" -p "$prompt" -n 4 >/dev/null
$ek train-predictor -m "$work/neurons" -f $text --ctx 128 --chunks 2 --epochs 1 --rank 8 --rule topk --value 1 \
    --thresholds "$work/stored.json" --check-chunks 0 --out "$work/all" >/dev/null
for cache in "" "--weight-cache 1"; do
    read -ra options <<<"$cache"
    same "ids of stored neurons, predicted all, ${cache:-mapped}" "$mapped" \
        "$($ek run "${stored[@]}" --predictor "$work/all" -p "$prompt" --temp 0 -n 60 --ids "${options[@]}")"
done
$ek speed "${stored[@]}" -p 0 -n 8 -r 1 -t 1 --weight-cache 1 -o json >"$work/cache.json"
python3 - "$work/cache.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))[0]
assert 0 < r["cache_neurons"] < 704 and r["cache_rows_read"] > 0 and r["cache_stall_ns"] > 0, r
assert r["cache_bytes_read"] >= r["cache_bytes_moved"] > 0 and 0 < r["cache_churn"] <= 1, r
PY
refused 1 "$ek" run -m "$work/neurons" -p x --weight-cache 4
refused 1 "$ek" run -m "$model" -p x --sparse "$work/sparse0.3.json" --weight-cache 4
refused 2 "$ek" run "${stored[@]}" -p x --weight-cache 0
refused 2 "$ek" run "${stored[@]}" -p x --weight-cache much
refused 1 "$ek" convert "$work/neurons" "$work/x" --type q8
refused 1 "$ek" convert "$model" "$work/x" --type q4k --neurons
refused 1 "$ek" profile -m "$work/neurons" -f $text --ctx 128 --chunks 1

echo "== stack: every row, and nothing left behind"
mkdir "$work/tmp"
$ek calibrate -m "$work/bf16" -f $text --ctx 128 --density 0.6 --out "$work/bf16.json" >/dev/null
TMPDIR=$work/tmp $ek stack -m "$work/bf16" -f $text --ctx 128 --chunks 4 -n 32 -r 2 -t 1 --sparse "$work/bf16.json" \
    --lobotomy "$work/cuts.json" --out "$work/stack.json" >"$work/stack"
python3 - "$work/stack.json" <<'PY'
import json, sys
rows = {r["name"]: r for r in json.load(open(sys.argv[1]))["results"]}
assert list(rows) == ["base", "+head", "+lobotomy", "+sparse", "+q4", "all"], list(rows)
for name, r in rows.items():
    exact = name in ("base", "+head")
    assert r["median_ts"] > 0 and (r["mean_kld"] < 1e-6) == exact and (r["same_top_p"] == 1) == exact, r
    assert (r["bytes_per_token"] < rows["base"]["bytes_per_token"]) == (name != "base"), r
PY
grep -q '^| all ' "$work/stack" || fail "stack's table"
[[ -z $(ls -A "$work/tmp") && -z $(compgen -G "$work/stack.json.base*") ]] || fail "stack leaves something behind"
same "a 4-bit model: its head cannot be certified, the rest is done" "$($ek stack -m "$work/before" -f $text --ctx 128 \
    --chunks 2 -n 16 -r 1 -t 1 2>/dev/null | grep -c '^| base .* 100.00% \|^| +head .* unavailable\|^| all .* 100.00% ')" 3
refused 2 "$ek" stack -m "$model"
refused 2 "$ek" stack -m "$model" -f $text --ctx 64 -n 65
refused 1 "$ek" stack -m "$model" -f "$work/none"
! $ek stack -m "$model" -f $text --ctx 128 --chunks 1 -n 8 -r 1 --sparse "$work/bf16.json" >/dev/null 2>&1 ||
    fail "stack takes thresholds of another model"

echo "== what makes no sense"
refused 1 "$ek" run -m "$work/none" -p x
refused 1 "$ek" run -m README.md -p x
refused 2 "$ek" run -m "$model" --nope
refused 2 "$ek" run -m "$model" -p x --temp hot
refused 1 "$ek" logits -m "$model" --ids 1,99999999
refused 2 "$ek" convert "$model" "$work/x" --type q5
refused 1 "$ek" convert "$work" "$work/x" --type q4
head -c 100000 "$model/model.safetensors" >"$work/q4/model.safetensors"
refused 1 "$ek" run -m "$work/q4" -p x
echo "commands: all agree"

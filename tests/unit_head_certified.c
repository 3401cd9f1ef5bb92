/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_head_certified.c - screened heads against all logits, on random, trained and hostile
 * states. */
#include "model/plan.h"
#include "tests/heads.h"

TestSuite(head_certified, .init = select_kernels, .timeout = 600);

/* One state: is the certified answer that of all logits, bit for bit? */
static void certified_state(struct certified *c, const float *x, size_t top, const ek_pool *pool)
{
    uint32_t                  id[EK_HEAD_TOP_MAX], want_id[EK_HEAD_TOP_MAX];
    float                     value[EK_HEAD_TOP_MAX], want[EK_HEAD_TOP_MAX];
    const struct ek_head_call q   = {sizeof q, &c->h, EK_HEAD_CERTIFIED, x, top, id, value, NULL};
    c->h.screen                   = &c->screen;
    const struct ek_head_counts d = run(&q, pool);
    all_logits(&c->h, x, c->y);
    if (isnan(c->y[0])) {
        sort_rows(c->y, c->order, c->h.w.n);
        for (size_t i = 0; i < top; i++) want_id[i] = c->order[i], want[i] = c->y[c->order[i]];
    } else {
        cr_assert_eq(ek_topk(&table, NULL, c->y, want_id, want, 1, c->h.w.n, top), EK_OK);
    }
    c->wrong += memcmp(id, want_id, top * sizeof *id) || memcmp(value, want, top * sizeof *want);
    c->states++;
    c->did.recomputed += d.recomputed, c->did.fallbacks += d.fallbacks;
    c->did.screened += d.screened, c->did.bytes += d.bytes;
}

static void certified_report(const struct certified *c, const char *what)
{
    uint64_t full;
    cr_assert_eq(ek_head_bytes(&c->h, EK_HEAD_FULL, 0, &full), EK_OK);
    printf("%s, %s: %zu states, %.2f %% of the rows computed, %.1f %% of the bytes, %zu wrong\n",
           what, ek_fmt_info(c->h.w.fmt)->name, c->states,
           100 * (double)c->did.recomputed / (double)(c->states * c->h.w.n),
           100 * (double)c->did.bytes / (double)(c->states * full), c->wrong);
    cr_assert_eq(c->wrong, 0);
}

/* One state in so many is asked where the reference kernels run, which take their time. */
static size_t thinning(void)
{
    return table.cpu ? 1 : 20;
}

/* Random states; rows of the head with noise; pairs of rows that differ in a last bit. */
Test(head_certified, on_made_up_states)
{
    enum { N = 1500, K = 96, STATES = 25000 };
    static const enum ek_fmt heads[]  = {EK_FMT_bf16, EK_FMT_f16, EK_FMT_f32, EK_FMT_q8g32};
    static const enum ek_fmt copies[] = {EK_FMT_q4g32, EK_FMT_q4g128, EK_FMT_q8g32, EK_FMT_q4g64};
    float                   *dense    = random_floats(N * K, 5, 1);
    for (size_t r = 1; r < N; r += 2) { /* twins: the same but for one bit of one weight */
        memcpy(dense + r * K, dense + (r - 1) * K, K * sizeof *dense);
        dense[r * K + r % K] *= 1 + 0x1p-7F;
    }
    for (size_t f = 0; f < 4; f++) {
        const struct ek_weights w = make_weights(heads[f], dense, N, K);
        struct certified        c;
        certified_make(&c, &w, copies[f]);
        uint64_t seed = f;
        for (size_t i = 0; i < STATES; i += thinning()) {
            float        x[K];
            const size_t r     = ek_rand(&seed) % N;
            const float  noise = (float[]){3, 1, 0.3F, 0}[i % 4], scale = i % 3 ? 1 : 1e-3F;
            for (size_t k = 0; k < K; k++)
                x[k] = scale * ((i % 5 ? dense[r * K + k] : 0) + noise * ek_randf(&seed));
            certified_state(&c, x, i % 20 ? 1 : 64, NULL);
        }
        certified_report(&c, "made up");
        certified_drop(&c), drop_weights(&w);
    }
    free(dense);
}

/* No state, tiny ones, huge ones, and those that are no numbers. */
Test(head_certified, at_the_ends_of_the_range)
{
    enum { N = 1100, K = 64 };
    static const float      scales[] = {0,        0x1p-149F, 0x1p-130F, 0x1p-101F, 0x1p-60F, 1e15F,
                                        0x1p100F, 0x1p118F,  0x1p126F,  INFINITY,  NAN};
    float                  *dense    = random_floats(N * K, 5, 1);
    const struct ek_weights w        = make_weights(EK_FMT_bf16, dense, N, K);
    struct certified        c;
    certified_make(&c, &w, EK_FMT_q4g32);
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        float x[K];
        for (size_t k = 0; k < K; k++) x[k] = scales[i] * ek_randf(&seed);
        certified_state(&c, x, 3, NULL);
    }
    cr_assert_geq(c.did.fallbacks, 3);
    certified_report(&c, "ends of the range");
    certified_drop(&c), drop_weights(&w);
    free(dense);
}

/* A state along e, a group of 32 at a time: whole numbers up to 127 times a scale of 11 bits, which
 * 8-bit activations hold exactly. code: numbers from -8 to 8 along it, one of +-8 in each group, so
 * that a copy holds them exactly. */
static void along(const float *e, size_t k, float *x, float *code)
{
    for (size_t g = 0; g < k; g += 32) {
        size_t most = g;
        for (size_t i = g; i < g + 32; i++)
            if (fabsf(e[i]) > fabsf(e[most])) most = i;
        const float d = ek_f32_from_f16(ek_f16_from_f32(fabsf(e[most]) / 127));
        for (size_t i = g; i < g + 32; i++) {
            const float q = rintf(e[i] / d);
            x[i] = d * q, code[i] = rintf(q * (7.0F / 127));
        }
        code[most] = copysignf(8, e[most]);
    }
}

enum { WIDTH = 128 };

/* Two rows of which one wins by a hair, and a state that makes the most of an error. 0: the numbers
 * came out useless. */
typedef int hostile_fn(uint64_t *seed, float *winner, float *rival, float *x);

/* The winner's copy is off by all that its bound allows: the state lies along what rounding took
 * away. The rival is its own copy. */
static int hostile_copy(uint64_t *seed, float *winner, float *rival, float *x)
{
    float e[WIDTH], code[WIDTH];
    for (size_t k = 0; k < WIDTH; k++) winner[k] = ek_randf(seed);
    const struct ek_weights one = make_weights(EK_FMT_q4g32, winner, 1, WIDTH);
    cr_assert_eq(ek_weights_dequantize(&one, 0, 1, e), EK_OK);
    drop_weights(&one);
    for (size_t k = 0; k < WIDTH; k++) e[k] = winner[k] - e[k];
    along(e, WIDTH, x, code);
    double exact = 0, unit = 0;
    for (size_t k = 0; k < WIDTH; k++) {
        exact += (double)winner[k] * (double)x[k];
        unit += (double)code[k] * (double)x[k];
    }
    if (!(exact > 0)) return 0;
    const float d = ek_f32_from_f16((uint16_t)(ek_f16_from_f32((float)(exact / unit)) - 1));
    for (size_t k = 0; k < WIDTH; k++) rival[k] = d * code[k];
    return 1;
}

/* Both rows are their own copies; the winner lies along what rounding the state took away, the rival
 * sees a number that was not rounded. */
static int hostile_state(uint64_t *seed, float *winner, float *rival, float *x)
{
    int8_t                        q[WIDTH];
    float                         d[WIDTH / 32], lost[WIDTH], unused[WIDTH];
    int32_t                       sums[WIDTH / 32];
    const struct ek_quantize_args a = {x, q, d, sums, WIDTH, WIDTH, 32, WIDTH, 0};
    for (size_t k = 0; k < WIDTH; k++) x[k] = ek_randf(seed), rival[k] = 0;
    for (size_t g = 0; g < WIDTH; g += 32) x[g] = 1; /* the largest: rounded to itself */
    cr_assert_eq(ek_quantize(&table, NULL, &a, 1), EK_OK);
    for (size_t k = 0; k < WIDTH; k++) lost[k] = x[k] - d[k / 32] * (float)q[k];
    along(lost, WIDTH, unused, winner);
    double exact = 0, rounded = 0;
    for (size_t k = 0; k < WIDTH; k++) {
        exact += (double)winner[k] * (double)x[k];
        rounded += (double)winner[k] * (double)d[k / 32] * (double)q[k];
    }
    rival[0] = ek_f32_from_f16(ek_f16_from_f32((float)(0.9 * exact + 0.1 * rounded) / 8)) * 8;
    return rounded > 0 && (double)rival[0] < exact && (double)rival[0] > rounded;
}

/* Both rows are their own copies, the state needs no rounding, and the sums are equal: only the order
 * of additions tells them apart, and kernels differ in it. */
static int hostile_sums(uint64_t *seed, float *winner, float *rival, float *x)
{
    float e[WIDTH], unused[WIDTH];
    for (size_t k = 0; k < 32; k++) e[k] = ek_randf(seed);
    along(e, 32, x, unused);
    for (size_t k = 32; k < WIDTH; k++) x[k] = x[k % 32];
    for (size_t k = 0; k < WIDTH; k++) winner[k] = k % 32 ? rintf(7 * ek_randf(seed)) : 8;
    for (size_t k = 0; k < WIDTH; k++) rival[k] = winner[(k + 32) % WIDTH];
    return 1;
}

/* Which part of such pairs is answered wrongly when the bounds are multiplied by `share`, or those
 * of the rows exchanged? */
static double hostile_pairs(hostile_fn *fn, float share, int exchange)
{
    enum { PAIRS = 4000 };
    size_t   wrong = 0, made = 0;
    uint64_t seed = 9;
    for (size_t i = 0; i < PAIRS; i++) {
        float                   pair[2][WIDTH], x[WIDTH];
        const size_t            first = i % 2;
        const struct ek_weights w     = {EK_FMT_f32, EK_LAYOUT_ROWS, 2, WIDTH, pair};
        struct certified        c;
        uint16_t                bounds[2];
        if (!fn(&seed, pair[first], pair[!first], x)) continue;
        certified_make(&c, &w, EK_FMT_q4g32);
        cr_assert_eq(c.screen.error[!first], 0);
        for (size_t r = 0; r < 2; r++)
            bounds[r] =
                ek_bf16_from_f32(share * ek_f32_from_bf16(c.screen.error[exchange ? !r : r]));
        c.screen.error = bounds;
        certified_state(&c, x, 1, NULL);
        made++, wrong += c.wrong;
        certified_drop(&c);
    }
    printf("hostile pairs, bounds times %g%s: %zu of %zu wrong\n", (double)share,
           exchange ? ", exchanged" : "", wrong, made);
    cr_assert_gt(made, PAIRS / 4);
    return (double)wrong / (double)made;
}

Test(head_certified, on_hostile_pairs)
{
    cr_assert(hostile_pairs(hostile_copy, 1, 0) == 0);
    cr_assert(hostile_pairs(hostile_state, 1, 0) == 0);
    cr_assert(hostile_pairs(hostile_sums, 1, 0) == 0);
}

/* The test of the test: faults in the bounds are seen. */
Test(head_certified, hostile_pairs_see_wrong_bounds)
{
    cr_assert(hostile_pairs(hostile_copy, 0.99F, 0) > 0);
    cr_assert(hostile_pairs(hostile_copy, 1, 1) > 0);
}

Test(head_certified, on_pools)
{
    enum { N = 4100, K = 64, STATES = 50 };
    static const size_t     counts[] = {1, 2, 3, 8};
    float                  *dense    = random_floats(N * K, 5, 1);
    const struct ek_weights w        = make_weights(EK_FMT_bf16, dense, N, K);
    struct ek_head_counts   did[4];
    for (size_t i = 0; i < 4; i++) {
        struct threads   t;
        struct certified c;
        size_t           bytes, work_bytes;
        uint64_t         seed = 3;
        cr_assert_eq(threads_start(&t, counts[i], NULL), 0);
        certified_make(&c, &w, EK_FMT_q4g32);
        cr_assert_eq(ek_head_screen_bytes(&w, EK_FMT_q4g32, &t.pool, &bytes, &work_bytes), EK_OK);
        void                 *mem = aligned(bytes), *work = aligned(work_bytes);
        struct ek_head_screen s;
        cr_assert_eq(
            ek_head_screen_build(&t.pool, &w, EK_FMT_q4g32, mem, bytes, work, work_bytes, &s),
            EK_OK);
        cr_assert(!memcmp(s.error, c.screen.error, N * sizeof *s.error));
        cr_assert(!memcmp(s.norm, c.screen.norm, N * sizeof *s.norm));
        for (size_t j = 0; j < STATES; j++) {
            float x[K];
            for (size_t k = 0; k < K; k++) x[k] = dense[j * 7 * K + k] + ek_randf(&seed);
            certified_state(&c, x, j % 2 ? 1 : 40, &t.pool);
        }
        certified_report(&c, "pool");
        did[i] = c.did;
        cr_assert(!memcmp(&did[i], &did[0], sizeof did[0]));
        free(mem), free(work);
        certified_drop(&c);
        threads_stop(&t);
    }
    drop_weights(&w);
    free(dense);
}

/* ---- trained heads ---- */

static struct model   *trained;
static struct session *reader;

/* A story that the model tells; 0 when the model is not there. */
static size_t tell(const char *path, int32_t *ids, size_t room)
{
    struct error           e = {""};
    struct sampler        *sampler;
    struct session_options o = {.context = room};
    if (model_open(&trained, path, NULL, &e)) return 0;
    const size_t                 vocab   = model_config(trained)->vocab;
    const struct sampler_options options = {
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 4};
    cr_assert_eq(session_open(&reader, trained, &o, &e), EK_OK, "%s", e.text);
    cr_assert_eq(sampler_open(&sampler, &options, vocab, &e), EK_OK, "%s", e.text);
    ids[0] = 1;
    for (size_t i = 0; i + 1 < room; i++) {
        const float *logits;
        cr_assert_eq(session_eval(reader, ids + i, 1, LOGITS_LAST, &logits, &e), EK_OK);
        ids[i + 1] = sampler_next(sampler, logits);
    }
    sampler_close(sampler);
    return room;
}

/* The model reads its own story from many places; each of its last states is a question. */
static void certified_on_story(const char *path)
{
    enum { STORY = 504, WINDOW = 160, STEP = 2, EXTRA = 8 };
    static const enum ek_fmt formats[] = {EK_FMT_bf16, EK_FMT_f32, EK_FMT_q8g32};
    int32_t                  ids[STORY];
    struct error             e = {""};
    struct certified         c[3];
    if (!tell(path, ids, STORY)) {
        printf("%s: not there\n", path);
        return;
    }
    const struct ek_weights head  = trained->head.part[0];
    float                  *dense = malloc(head.n * head.k * sizeof *dense);
    cr_assert_eq(trained->head.parts, 1);
    cr_assert_eq(ek_weights_dequantize(&head, 0, head.n, dense), EK_OK);
    for (size_t f = 0; f < 3; f++) {
        const struct ek_weights w = make_weights(formats[f], dense, head.n, head.k);
        certified_make(&c[f], &w, EK_FMT_q4g32);
    }
    for (size_t from = 0; from + WINDOW <= STORY; from += STEP * thinning()) {
        const float *logits;
        cr_assert_eq(session_truncate(reader, 0), EK_OK);
        cr_assert_eq(session_eval(reader, ids + from, WINDOW, LOGITS_ALL, &logits, &e), EK_OK);
        for (size_t i = 0; i < WINDOW; i += thinning()) {
            const float *x = reader->h + i * head.k;
            certified_state(&c[0], x, 1, NULL);
            for (size_t f = 1; i % EXTRA == 0 && f < 3; f++) certified_state(&c[f], x, 1, NULL);
        }
    }
    for (size_t f = 0; f < 3; f++) certified_report(&c[f], path);
    c[0].did = (struct ek_head_counts){0}, c[0].states = 0;
    for (size_t i = 0; i < WINDOW; i += thinning())
        certified_state(&c[0], reader->h + i * head.k, 40, NULL);
    certified_report(&c[0], "the top 40");
    for (size_t f = 0; f < 3; f++) {
        drop_weights(&c[f].h.w);
        certified_drop(&c[f]);
    }
    free(dense);
    session_close(reader);
    model_close(trained);
}

Test(head_certified, on_trained_states)
{
    certified_on_story(EK_SOURCE "/model/default");
    certified_on_story(EK_SOURCE "/../shared/data/models/tinystories-656K");
    certified_on_story(EK_SOURCE "/../shared/data/models/stories260K/stories260K.bin");
}

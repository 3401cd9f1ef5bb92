/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_tier.c - the file tier against plain reads: random masks, short reads, files that end
 * early, errors of the disk; sessions with and without it. */
#include "model/tier.h"

#include "model/plan.h"
#include "model/row_reader.h"
#include "tests/driver.h"
#include "tests/model_pair.h"
#include "tests/thresholds_file.h"
#include "tools/pool.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

enum { LAYERS = 3, N = 200, D = 64, ONE = 2 * D * 4, HEAD = 192, SIZE = HEAD + LAYERS * N * ONE };

/* LAYERS layers of f32 neurons behind a head, in a file. */
struct world {
    char              dir[64], path[80];
    unsigned char    *data;
    struct tensor     tensors[LAYERS];
    struct tier_layer layers[LAYERS];
    struct error      e;
};

static void world_make(struct world *w)
{
    uint64_t seed = 7;
    memset(w, 0, sizeof *w);
    directory_make(w->dir);
    snprintf(w->path, sizeof w->path, "%s/neurons", w->dir);
    w->data = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) w->data[i] = (unsigned char)ek_rand(&seed);
    bytes_write(&(struct bytes){.data = w->data, .n = SIZE}, w->dir, "neurons");
    for (size_t l = 0; l < LAYERS; l++) {
        w->tensors[l] = (struct tensor){.name  = "neurons",
                                        .type  = TENSOR_NEURONS,
                                        .fmt   = EK_FMT_f32,
                                        .n     = N,
                                        .k     = D,
                                        .file  = w->path,
                                        .begin = HEAD + l * N * ONE};
        w->layers[l]  = (struct tier_layer){2 * l, &w->tensors[l]}; /* layers 0, 2, 4 */
    }
}

static void world_drop(struct world *w)
{
    directory_remove(w->dir);
    free(w->data);
}

static struct tier *tier_of(struct world *w, uint64_t budget, const struct row_source *source)
{
    const struct tier_options o = {w->path, budget, w->layers, LAYERS, source};
    struct tier              *t = NULL;
    cr_assert_eq(tier_open(&t, &o, &w->e), EK_OK, "%s", w->e.text);
    return t;
}

/* Bytes for a cache of about so many neurons a layer. */
static uint64_t budget_of(size_t neurons)
{
    return LAYERS * ((uint64_t)neurons * (ONE + 12) + 4096);
}

/* Are the slots of a list the neurons of the file? */
static int same(const struct world *w, size_t l, const uint32_t *list, size_t count,
                const uint32_t *slots, const struct ek_neurons *n)
{
    for (size_t i = 0; i < count; i++)
        if (slots[i] >= n->n || memcmp((const unsigned char *)n->data + (size_t)slots[i] * ONE,
                                       w->data + HEAD + (l * N + list[i]) * ONE, ONE) != 0)
            return 0;
    return 1;
}

/* A list of about `share` % of the neurons, half of them the ones of the last. */
static size_t random_list(uint64_t *seed, size_t share, unsigned char *state, uint32_t *list)
{
    size_t count = 0;
    for (uint32_t i = 0; i < N; i++) {
        if (ek_rand(seed) % 2) state[i] = ek_rand(seed) % 100 < share;
        if (state[i]) list[count++] = i;
    }
    return count;
}

/* ---- against plain reads ---- */

static void masks(struct world *w, struct tier *t, size_t rounds)
{
    unsigned char state[LAYERS][N] = {{0}};
    uint32_t      list[N], slots[N];
    uint64_t      seed = 3, asked = 0;
    for (size_t r = 0; r < rounds; r++) {
        const size_t      l     = ek_rand(&seed) % LAYERS;
        const size_t      count = random_list(&seed, r % 97, state[l], list);
        struct ek_neurons n     = {EK_FMT_f32, N, D, 2, NULL};
        cr_assert_eq(tier_fetch(t, 2 * l, list, count, slots, &n), EK_OK);
        if (!same(w, l, list, count, slots, &n)) cr_assert_fail("round %zu, %zu neurons", r, count);
        asked += count;
    }
    struct tier_counts c;
    tier_count(t, &c);
    cr_assert_eq(c.hits + c.rows_read, asked);
    cr_assert_eq(c.bytes_moved, c.rows_read * ONE);
    cr_assert(c.bytes_read >= c.rows_read * ONE && c.churn > 0 && c.churn <= 1);
}

Test(tier, masks)
{
    static const size_t capacities[] = {1, 20, 100, N};
    struct world        w;
    world_make(&w);
    for (size_t i = 0; i < 4; i++) {
        struct tier *t = tier_of(&w, budget_of(capacities[i]), NULL);
        masks(&w, t, 2500);
        tier_close(t);
    }
    world_drop(&w);
}

/* What fits stays: the second time nothing is read; of older lists as much as there is room for. */
Test(tier, keeps_what_was_used_last)
{
    struct world       w;
    struct tier_counts c;
    uint32_t           list[3][40], slots[40];
    struct ek_neurons  n = {EK_FMT_f32, N, D, 2, NULL};
    world_make(&w);
    struct tier *t = tier_of(&w, budget_of(90), NULL);
    for (uint32_t i = 0; i < 40; i++) list[0][i] = i, list[1][i] = 50 + i, list[2][i] = 100 + i;
    for (int i = 0; i < 2; i++) cr_assert_eq(tier_fetch(t, 0, list[i], 40, slots, &n), EK_OK);
    tier_count(t, &c);
    cr_assert(c.rows_read == 80 && c.capacity >= 85 && c.capacity < 110, "%d", (int)c.capacity);
    for (int i = 0; i < 2; i++) cr_assert_eq(tier_fetch(t, 0, list[i], 40, slots, &n), EK_OK);
    cr_assert_eq(tier_fetch(t, 0, list[2], 40, slots, &n), EK_OK); /* list[0] goes, list[1] stays */
    cr_assert_eq(tier_fetch(t, 0, list[1], 40, slots, &n), EK_OK);
    tier_count(t, &c);
    cr_assert_eq(c.rows_read, 120);
    cr_assert_eq(c.hits, 120);
    cr_assert_eq(tier_fetch(t, 1, list[0], 1, slots, &n), EK_E_ARG); /* no such layer */
    tier_close(t);
    world_drop(&w);
}

/* All neurons, piece after piece, leave the cache as it is. */
Test(tier, streams)
{
    struct world      w;
    uint32_t          list[N];
    struct ek_neurons n = {EK_FMT_f32, N, D, 2, NULL};
    world_make(&w);
    struct tier *t = tier_of(&w, budget_of(20), NULL);
    for (uint32_t i = 0; i < N; i++) list[i] = i;
    cr_assert_eq(tier_stream(t, 4, 0, N, &n), EK_OK);
    cr_assert(n.n == N && same(&w, 2, list, N, list, &n));
    cr_assert_eq(tier_stream(t, 0, 150, 50, &n), EK_OK);
    cr_assert(n.n == 50 && same(&w, 0, list + 150, 50, list, &n));
    cr_assert_eq(tier_stream(t, 0, N - 50, 51, &n), EK_E_ARG);
    cr_assert_eq(tier_stream(t, 0, 0, N + 1, &n), EK_E_ARG);
    cr_assert_eq(tier_stream(t, 1, 0, 1, &n), EK_E_ARG);
    tier_close(t);
    world_drop(&w);
}

/* ---- what goes wrong ---- */

/* A disk of the test's: the file, but a read gives few bytes, or an error from a place on. */
struct disk {
    const unsigned char *data;
    uint64_t             size, broken; /* reads from broken on fail */
    size_t               most;         /* bytes of a read */
};

static ssize_t disk_read(void *self, void *to, size_t bytes, uint64_t at)
{
    const struct disk *d = self;
    if (at + bytes > d->broken) {
        errno = EIO;
        return -1;
    }
    const uint64_t left = at < d->size ? d->size - at : 0;
    const size_t   few = bytes < d->most ? bytes : d->most, n = few < left ? few : (size_t)left;
    if (n) memcpy(to, d->data + at, n);
    return (ssize_t)n;
}

Test(tier, short_reads)
{
    struct world w;
    world_make(&w);
    struct disk             d      = {w.data, SIZE, UINT64_MAX, 100};
    const struct row_source source = {disk_read, &d};
    struct tier            *t      = tier_of(&w, budget_of(50), &source);
    masks(&w, t, 300);
    tier_close(t);
    world_drop(&w);
}

static void expect_failure(struct tier *t, const struct world *w, const char *says)
{
    uint32_t          list[N], slots[N];
    struct ek_neurons n = {EK_FMT_f32, N, D, 2, NULL};
    for (uint32_t i = 0; i < N; i++) list[i] = i;
    for (int i = 0; i < 2; i++) { /* it stays so, and nothing of it is taken for read */
        cr_assert_eq(tier_fetch(t, 4, list, N, slots, &n), EK_E_IO);
        const char *text = tier_error(t)->text;
        cr_assert(strstr(text, w->path) && strstr(text, says) && !strchr(text, '\n'), "%s", text);
        cr_assert_eq(tier_stream(t, 4, 0, N, &n), EK_E_IO);
        cr_assert_null(n.data);
    }
    cr_assert_eq(tier_fetch(t, 0, list, 20, slots, &n), EK_OK); /* others are there */
    cr_assert(same(w, 0, list, 20, slots, &n));
}

Test(tier, errors_and_ends)
{
    struct world w;
    world_make(&w);
    struct disk             broken   = {w.data, SIZE, SIZE - 1000, SIZE_MAX};
    struct disk             ends     = {w.data, SIZE - 1000, UINT64_MAX, SIZE_MAX};
    const struct row_source source[] = {{disk_read, &broken}, {disk_read, &ends}};
    const char *const       says[]   = {strerror(EIO), "ends before"};
    for (int i = 0; i < 2; i++) {
        struct tier *t = tier_of(&w, budget_of(50), &source[i]);
        expect_failure(t, &w, says[i]);
        tier_close(t);
    }
    struct tier *t = tier_of(&w, budget_of(50), NULL); /* the real file, cut off */
    cr_assert_eq(truncate(w.path, SIZE - 1000), 0);
    expect_failure(t, &w, "ends before");
    tier_close(t);
    world_drop(&w);
}

Test(tier, refuses)
{
    struct world w;
    struct tier *t = NULL;
    world_make(&w);
    struct tier_options o = {w.path, 1000, w.layers, LAYERS, NULL};
    cr_assert_eq(tier_open(&t, &o, &w.e), EK_E_ARG);
    cr_assert(strstr(w.e.text, "is the least"), "%s", w.e.text);
    o.budget         = budget_of(10);
    w.tensors[1].fmt = EK_FMT_q8g32;
    cr_assert_eq(tier_open(&t, &o, &w.e), EK_E_ARG);
    cr_assert(strstr(w.e.text, "different formats"), "%s", w.e.text);
    w.tensors[1].fmt = EK_FMT_f32;
    o.path           = "/nowhere/at/all";
    cr_assert_eq(tier_open(&t, &o, &w.e), EK_E_IO);
    cr_assert(strstr(w.e.text, o.path), "%s", w.e.text);
    cr_assert_null(t);
    world_drop(&w);
}

/* ---- the reader alone ---- */

/* Pieces of all sizes, far apart and side by side, one longer than a buffer. */
Test(row_reader, pieces)
{
    enum { BYTES = 3000000, PIECES = 300 };
    char               dir[64], path[80];
    struct row_reader *r;
    struct error       e    = {""};
    uint64_t           seed = 5;
    unsigned char     *data = malloc(BYTES), *got = malloc(BYTES);
    struct row_read    list[PIECES];
    directory_make(dir);
    snprintf(path, sizeof path, "%s/data", dir);
    for (size_t i = 0; i < BYTES; i++) data[i] = (unsigned char)ek_rand(&seed);
    bytes_write(&(struct bytes){.data = data, .n = BYTES}, dir, "data");
    for (size_t requests = 1; requests < 100; requests += 33) {
        const struct row_reader_options o = {.requests = requests};
        cr_assert_eq(row_reader_open(&r, path, &o, &e), EK_OK, "%s", e.text);
        size_t at = ek_rand(&seed) % 1000, count = 0;
        for (; count < PIECES; count++) {
            const size_t bytes = count == 17 ? 400000 : 1 + ek_rand(&seed) % 9000;
            if (at + bytes > BYTES) break;
            list[count] = (struct row_read){at, bytes, got + at};
            at += bytes + (ek_rand(&seed) % 3 ? 0 : ek_rand(&seed) % 20000);
        }
        memset(got, 0, BYTES);
        cr_assert_eq(row_reader_read(r, list, count, &e), EK_OK, "%s", e.text);
        for (size_t i = 0; i < count; i++)
            cr_assert_arr_eq(got + list[i].at, data + list[i].at, list[i].bytes);
        row_reader_close(r);
    }
    free(data), free(got);
    directory_remove(dir);
}

/* ---- sessions ---- */

/* Logits of a text: a prompt of 20, then token by token. */
static void logits_of(const struct model *m, uint64_t budget, float *out)
{
    const struct session_options o = {.weight_cache = budget};
    struct session              *s;
    struct error                 e = {""};
    const float                 *logits;
    int32_t                      ids[40];
    for (int i = 0; i < 40; i++) ids[i] = (i * 7 + 3) % 64;
    cr_assert_eq(session_open(&s, m, &o, &e), EK_OK, "%s", e.text);
    cr_assert_eq(session_eval(s, ids, 20, LOGITS_LAST, &logits, &e), EK_OK, "%s", e.text);
    memcpy(out, logits, 64 * sizeof *out);
    for (size_t i = 20; i < 40; i++) {
        cr_assert_eq(session_eval(s, ids + i, 1, LOGITS_LAST, &logits, &e), EK_OK, "%s", e.text);
        memcpy(out + (i - 19) * 64, logits, 64 * sizeof *out);
    }
    uint64_t of, taken;
    session_neurons(s, &of, &taken);
    cr_assert(taken && taken < of);
    session_close(s);
}

/* Stored neurons give, with a cache of any size, the bits that they give where they are mapped; and
 * what neurons made at load give for single tokens. */
Test(session, same_bits_with_a_cache)
{
    enum { FLOATS = 21 * 64 };
    const struct config    c = tiny_config("llama", 1);
    struct convert_options o = options(EK_FMT_q8g32);
    struct pair            p;
    struct model          *m;
    char                   path[96];
    float                  mapped[FLOATS], cached[FLOATS];
    pair_make(&p, &c);
    o.neurons = 1;
    pair_convert(&p, &o);
    snprintf(path, sizeof path, "%s/thresholds", p.dir);
    cr_assert_eq(model_open(&m, p.dst, NULL, &p.e), EK_OK, "%s", p.e.text);
    cr_assert_eq(thresholds_write(path, m, &(enum tap){TAP_MLP_GATE}, 1, 0.05), 0);
    const struct session_options none = {.weight_cache = 1 << 20};
    struct session              *s;
    cr_assert_eq(session_open(&s, m, &none, &p.e), EK_E_ARG);
    cr_assert(strstr(p.e.text, "--sparse"), "%s", p.e.text);
    model_close(m);
    const struct model_options sparse = {.sparse = path};
    cr_assert_eq(model_open(&m, p.dst, &sparse, &p.e), EK_OK, "%s", p.e.text);
    logits_of(m, 0, mapped);
    for (uint64_t kib = 12; kib < 200; kib *= 2) {
        logits_of(m, kib << 10, cached);
        cr_assert_arr_eq(mapped, cached, sizeof mapped);
    }
    model_close(m);
    pair_drop(&p);
}

enum { LONG = 525, VOCAB = 64 }; /* more than a prompt takes at once */

/* The last logits of a long text, `step` tokens at a time. */
static void long_logits(const struct model *m, size_t step, uint64_t cache, const ek_pool *pool,
                        float out[VOCAB])
{
    const struct session_options o = {.context      = LONG,
                                      .batch        = step,
                                      .kv           = EK_FMT_f32,
                                      .activation   = EK_ACTIVATION_F32,
                                      .weight_cache = cache,
                                      .pool         = pool};
    struct session              *s;
    struct error                 e      = {""};
    const float                 *logits = NULL;
    int32_t                      ids[LONG];
    for (int i = 0; i < LONG; i++) ids[i] = i * 7919 % VOCAB;
    cr_assert_eq(session_open(&s, m, &o, &e), EK_OK, "%s", e.text);
    for (size_t i = 0; i < LONG; i += step)
        cr_assert_eq(session_eval(s, ids + i, step, LOGITS_LAST, &logits, &e), EK_OK, "%s", e.text);
    memcpy(out, logits, VOCAB * sizeof *out);
    session_close(s);
}

/* Stored neurons of every format as matrices, several pieces of them and more tokens than one piece
 * takes: what lists of all of them give, with a cache and with threads the same bits. */
Test(session, prompts_through_matrices)
{
    static const int types[] = {EK_FMT_f32, EK_FMT_f16, EK_FMT_bf16, EK_FMT_q8g32, EK_FMT_q4g32};
    struct config    c       = tiny_config("llama", 1);
    struct pair      p;
    struct threads   threads;
    char             path[96];
    c.hidden = 544, c.ffn = 1100, c.context = LONG;
    pair_make(&p, &c);
    snprintf(path, sizeof path, "%s/thresholds", p.dir);
    cr_assert_eq(threads_start(&threads, 2, NULL), 0);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const struct model_options sparse = {.sparse = path};
        struct convert_options     o      = options(types[i]);
        struct model              *m;
        float                      want[VOCAB], got[VOCAB], same_bits[VOCAB], most = 0;
        o.neurons = o.force = 1;
        pair_convert(&p, &o);
        cr_assert_eq(model_open(&m, p.dst, NULL, &p.e), EK_OK, "%s", p.e.text);
        cr_assert_eq(thresholds_write(path, m, &(enum tap){TAP_MLP_GATE}, 1, 0), 0);
        model_close(m);
        cr_assert_eq(model_open(&m, p.dst, &sparse, &p.e), EK_OK, "%s", p.e.text);
        long_logits(m, 7, 0, NULL, want);
        for (size_t j = 0; j < VOCAB; j++) most = fmaxf(most, fabsf(want[j]));
        for (size_t step = 25; step <= LONG;
             step *= 21) { /* by lists; as matrices, the end by lists */
            long_logits(m, step, 0, NULL, got);
            for (size_t j = 0; j < VOCAB; j++)
                cr_assert_float_eq(want[j], got[j], most * 1e-4f, "type %d, %zu, %zu: %g, not %g",
                                   types[i], step, j, (double)got[j], (double)want[j]);
        }
        long_logits(m, LONG, 1 << 20, NULL, same_bits);
        cr_assert_arr_eq(got, same_bits, sizeof got);
        long_logits(m, LONG, 0, &threads.pool, same_bits);
        cr_assert_arr_eq(got, same_bits, sizeof got);
        model_close(m);
    }
    threads_stop(&threads);
    pair_drop(&p);
}

/* A file that ends early while it is in use: one line with its name; the session goes on from where
 * it was. */
Test(session, names_the_file)
{
    const struct config    c = tiny_config("llama", 1);
    struct convert_options o = options(EK_FMT_q8g32);
    struct pair            p;
    struct model          *m;
    struct session        *s;
    struct stat            st;
    char                   path[96], file[112];
    const float           *logits;
    const int32_t          ids[20] = {3};
    pair_make(&p, &c);
    o.neurons = 1;
    pair_convert(&p, &o);
    snprintf(path, sizeof path, "%s/thresholds", p.dir);
    snprintf(file, sizeof file, "%s/model.safetensors", p.dst);
    cr_assert_eq(model_open(&m, p.dst, NULL, &p.e), EK_OK, "%s", p.e.text);
    cr_assert_eq(thresholds_write(path, m, &(enum tap){TAP_MLP_GATE}, 1, 0), 0);
    model_close(m);
    const struct model_options   sparse = {.sparse = path};
    const struct session_options cache  = {.weight_cache = 64 << 10};
    cr_assert_eq(model_open(&m, p.dst, &sparse, &p.e), EK_OK, "%s", p.e.text);
    cr_assert_eq(session_open(&s, m, &cache, &p.e), EK_OK, "%s", p.e.text);
    cr_assert_eq(stat(file, &st), 0);
    cr_assert_eq(truncate(file, st.st_size - 5000), 0);
    for (size_t n = 1; n <= 20; n += 19) {
        cr_assert_eq(session_eval(s, ids, n, LOGITS_LAST, &logits, &p.e), EK_E_IO);
        cr_assert(strstr(p.e.text, file) && !strchr(p.e.text, '\n'), "%s", p.e.text);
        cr_assert_eq(session_length(s), 0);
    }
    session_close(s);
    model_close(m);
    pair_drop(&p);
}

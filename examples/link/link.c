/* SPDX-License-Identifier: Apache-2.0 */
/* examples/link/link.c - an engine in small: its own threads and memory, libek's kernel table. */
#include <ek/formats.h>
#include <ek/kernels.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Neither a multiple of the panel (16 rows) nor of the group (32 columns): both are padded. */
enum { ROWS = 1000, COLS = 1100, THREADS = 3 };

/* Packed weights and quantised activations want 64 bytes; so do output rows that threads share. */
static void *engine_alloc(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) exit(2);
    return p;
}

static void check(ek_status s)
{
    if (!s) return;
    fprintf(stderr, "link: %s\n", ek_status_text(s));
    exit(2);
}

static float noise(void)
{
    static unsigned state = 1;
    state                 = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (float)(1 << 23) - 1;
}

/* One thread's share. A kernel is serial and any split gives the same bits, so how the engine
 * schedules is its own affair. */
struct job {
    pthread_t               thread;
    const struct ek_kernel *kernel;
    const void             *args;
    size_t                  begin, end;
};

static void *work(void *p)
{
    const struct job *j = p;
    if (j->kernel->op == EK_OP_gemv_i8)
        j->kernel->fn.gemv_i8(j->args, j->begin, j->end);
    else
        j->kernel->fn.gemv(j->args, j->begin, j->end);
    return NULL;
}

/* Cuts at panels: a cut inside one is right too, but two threads would read its weights. */
static void run(const struct ek_kernel *kernel, const void *args)
{
    const size_t panels = (ROWS + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    struct job   jobs[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        const size_t end = panels * (i + 1) / THREADS * EK_PANEL_ROWS;
        jobs[i]          = (struct job){.kernel = kernel,
                                        .args   = args,
                                        .begin  = panels * i / THREADS * EK_PANEL_ROWS,
                                        .end    = end < ROWS ? end : ROWS};
        if (pthread_create(&jobs[i].thread, NULL, work, &jobs[i])) exit(2);
    }
    for (size_t i = 0; i < THREADS; i++) pthread_join(jobs[i].thread, NULL);
}

/* What the engine holds of a matrix: the packed bytes, and here their values for the comparison. */
static struct ek_weights load(enum ek_fmt fmt, const float *w, float *values)
{
    size_t bytes;
    check(ek_weights_bytes(fmt, ROWS, COLS, &bytes, NULL));
    void *data = engine_alloc(bytes);
    check(ek_weights_quantize(fmt, w, ROWS, COLS, data, bytes));
    const struct ek_weights m = {fmt, ek_fmt_info(fmt)->layout, ROWS, COLS, data};
    check(ek_weights_dequantize(&m, 0, ROWS, values));
    return m;
}

/* The documented bound of gemv, 2^-23 (k + 4) sum |W||x|; errors are printed in units of it. */
static int compare(const struct ek_kernel *kernel, const float *w, const float *x, const float *y)
{
    double worst = 0;
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0, mag = 0;
        for (size_t c = 0; c < COLS; c++) {
            const double term = (double)w[r * COLS + c] * (double)x[c];
            sum += term, mag += fabs(term);
        }
        const double error = fabs((double)y[r] - sum) / (0x1p-23 * (COLS + 4) * mag);
        if (!(error <= worst)) worst = error; /* so that NaN stays */
    }
    const int bad = !(worst <= 1);
    printf("%-28s %-8s error %.4f of the bound%s\n", kernel->name, kernel->isa, worst,
           bad ? ": WRONG" : "");
    return bad;
}

int main(void)
{
    /* An engine that detects the CPU itself passes its own bits to ek_kernels_select. */
    struct ek_kernels t;
    check(ek_kernels_default(&t));
    if (t.struct_size != sizeof t) return fputs("link: headers of another libek\n", stderr), 2;

    const size_t kp     = ek_padded_k(EK_FMT_q4g32, COLS);
    float       *w      = engine_alloc(sizeof(float) * ROWS * COLS);
    float       *values = engine_alloc(sizeof(float) * ROWS * COLS);
    float       *x      = engine_alloc(sizeof(float) * kp);
    float       *y      = engine_alloc(sizeof(float) * ROWS);
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) w[i] = noise();
    for (size_t c = 0; c < kp; c++) x[c] = c < COLS ? noise() : 0; /* zero up to whole groups */
    int bad = 0;

    struct ek_weights   m    = load(EK_FMT_bf16, w, values);
    struct ek_gemv_args args = {.w       = m.data,
                                .x       = x,
                                .y       = y,
                                .n       = ROWS,
                                .k       = COLS,
                                .m       = 1,
                                .ldx     = kp,
                                .ldy     = ROWS,
                                .streams = t.streams};
    run(t.gemv[EK_FMT_bf16], &args);
    bad |= compare(t.gemv[EK_FMT_bf16], values, x, y);
    free((void *)m.data);

    m      = load(EK_FMT_q4g32, w, values);
    args.w = m.data, args.k = kp;
    run(t.gemv[EK_FMT_q4g32], &args);
    bad |= compare(t.gemv[EK_FMT_q4g32], values, x, y);

    /* The same product with activations of 8 bit: the group is that of the weights. */
    const size_t group = ek_fmt_info(EK_FMT_q4g32)->group, groups = kp / group;
    int8_t      *xq = engine_alloc(kp);
    float       *xd = engine_alloc(sizeof *xd * groups);
    int32_t     *xs = engine_alloc(sizeof *xs * groups);
    t.quantize[EK_FMT_f32]->fn.quantize(
        &(struct ek_quantize_args){
            .x = x, .q = xq, .d = xd, .s = xs, .k = COLS, .kp = kp, .group = group, .ldx = kp},
        0, 1);
    const struct ek_gemv_i8_args args8 = {.w       = m.data,
                                          .xq      = xq,
                                          .xd      = xd,
                                          .xs      = xs,
                                          .y       = y,
                                          .n       = ROWS,
                                          .k       = kp,
                                          .m       = 1,
                                          .ldy     = ROWS,
                                          .streams = t.streams};
    run(t.gemv_i8[EK_FMT_q4g32], &args8);
    for (size_t c = 0; c < COLS; c++) x[c] = xd[c / group] * (float)xq[c]; /* what it multiplied */
    bad |= compare(t.gemv_i8[EK_FMT_q4g32], values, x, y);

    free((void *)m.data);
    free(w), free(values), free(x), free(y), free(xq), free(xd), free(xs);
    return bad;
}

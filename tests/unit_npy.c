/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_npy.c - .npy files: what NumPy writes is read to the bit, what is broken is refused. */
#include "model/npy.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file from its parts; version 1 has a header length of two bytes, the others of four. */
static unsigned char *file_of(int version, const char *header, const void *elements, size_t bytes,
                              size_t *total)
{
    const size_t   length = strlen(header), width = version == 1 ? 2 : 4;
    unsigned char *p = malloc(8 + width + length + bytes + 1);
    cr_assert_not_null(p);
    memcpy(p, "\x93NUMPY", 6);
    p[6] = (unsigned char)version;
    p[7] = 0;
    for (size_t i = 0; i < width; i++) p[8 + i] = (unsigned char)(length >> (8 * i));
    memcpy(p + 8 + width, header, length);
    if (bytes) memcpy(p + 8 + width + length, elements, bytes);
    *total = 8 + width + length + bytes;
    return p;
}

static ek_status parse(struct npy *a, int version, const char *header, size_t bytes,
                       struct error *e)
{
    static const unsigned char zeros[256];
    size_t                     total;
    unsigned char             *p = file_of(version, header, zeros, bytes, &total);
    const ek_status            s = npy_parse(a, "x.npy", p, total, e);
    free(p);
    return s;
}

Test(npy, float32_and_float64)
{
    const float  single[6] = {1.5F, -2.25F, 3e-40F, 0.1F, -0.0F, 65504.0F};
    const double full[3]   = {0.1, -1e300, 5e-324};
    size_t       total;
    struct npy   a;
    for (int version = 1; version <= 3; version++) {
        unsigned char *p =
            file_of(version, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n",
                    single, sizeof single, &total);
        cr_assert_eq(npy_parse(&a, "x", p, total, NULL), EK_OK);
        cr_assert(a.dims == 2 && a.shape[0] == 2 && a.shape[1] == 3 && a.count == 6);
        for (int i = 0; i < 6; i++) cr_assert(a.data[i] == (double)single[i]);
        npy_free(&a);
        free(p);
    }
    unsigned char *p =
        file_of(1, "{'shape':(3,),'descr':'<f8','fortran_order':False}", full, sizeof full, &total);
    cr_assert_eq(npy_parse(&a, "x", p, total, NULL), EK_OK);
    cr_assert(a.dims == 1 && a.count == 3 && memcmp(a.data, full, sizeof full) == 0);
    npy_free(&a);
    free(p);
}

Test(npy, scalars_and_empty_arrays)
{
    struct npy a;
    cr_assert_eq(parse(&a, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, NULL),
                 EK_OK);
    cr_assert(a.dims == 0 && a.count == 1);
    npy_free(&a);
    cr_assert_eq(parse(&a, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 5)}", 0, NULL),
                 EK_OK);
    cr_assert(a.count == 0 && a.data);
    npy_free(&a);
}

struct refusal {
    ek_status   status;
    size_t      bytes;
    const char *header, *says;
};

Test(npy, refuses)
{
#define HEAD "{'descr': '<f4', 'fortran_order': False, 'shape': "
    static const struct refusal refusals[] = {
        {EK_E_FORMAT, 4, HEAD "(2,)}", "not what its shape says"},
        {EK_E_FORMAT, 7, HEAD "(1,)}", "not what its shape says"},
        {EK_E_FORMAT, 12, HEAD "(2,)}", "not what its shape says"},
        {EK_E_FORMAT, 4, HEAD "(-1,)}", "a size is missing"},
        {EK_E_FORMAT, 4, HEAD "(1 1)}", "a comma is missing"},
        {EK_E_FORMAT, 4, HEAD "(1,,)}", "a size is missing"},
        {EK_E_FORMAT, 4, HEAD "1}", "no tuple"},
        {EK_E_FORMAT, 4, HEAD "(1,)", "a comma is missing"},
        {EK_E_FORMAT, 4, HEAD "(1,)} x", "something follows"},
        {EK_E_FORMAT, 4, HEAD "(99999999999999999999,)}", "too large"},
        /* 2^62 x 4 = 2^64 wraps to 0, which zero bytes would satisfy */
        {EK_E_FORMAT, 0, HEAD "(4611686018427387904, 4)}", "too large"},
        {EK_E_FORMAT, 0, HEAD "(4611686018427387904,)}", "not what its shape says"},
        {EK_E_FORMAT, 4, HEAD "(1,), 'shape': (1,)}", "there twice"},
        {EK_E_FORMAT, 4, HEAD "(1,), 'other': 1}", "unknown"},
        {EK_E_FORMAT, 4, "{'descr': '<f4', 'shape': (1,)}", "missing"},
        {EK_E_FORMAT, 4, "{'fortran_order': False, 'shape': (1,)}", "missing"},
        {EK_E_FORMAT, 4, "{'descr': '<f4', 'fortran_order': False}", "missing"},
        {EK_E_FORMAT, 4, "", "no dictionary"},
        {EK_E_UNSUPPORTED, 4, "{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", "<f4"},
        {EK_E_UNSUPPORTED, 4, "{'descr': '<u4', 'fortran_order': False, 'shape': (1,)}", "<f4"},
        {EK_E_UNSUPPORTED, 4, "{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", "Fortran"},
        {EK_E_UNSUPPORTED, 4, HEAD "(1,1,1,1,1,1,1,1,1)}", "dimensions"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct npy            a = {.dims = 7};
        struct error          e = {""};
        const struct refusal *r = &refusals[i];
        const ek_status       s = parse(&a, 1, r->header, r->bytes, &e);
        cr_expect_eq(s, r->status, "%s: %d %s", r->header, (int)s, e.text);
        cr_expect(strncmp(e.text, "x.npy: ", 7) == 0 && strstr(e.text, r->says), "%s: %s",
                  r->header, e.text);
        cr_expect(!a.data && a.dims == 0 && a.count == 0);
        if (s == EK_OK) npy_free(&a);
    }
}

/* Every shorter file is refused; memory behind it is never read (ASan). */
Test(npy, every_cut_is_refused)
{
    const float    elements[2] = {1, 2};
    size_t         total;
    unsigned char *p = file_of(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
                               elements, sizeof elements, &total);
    for (size_t cut = 0; cut < total; cut++) {
        struct npy     a;
        unsigned char *part = malloc(cut + !cut);
        cr_assert_not_null(part);
        memcpy(part, p, cut);
        cr_expect_eq(npy_parse(&a, "x", part, cut, NULL), EK_E_FORMAT, "%zu", cut);
        free(part);
    }
    free(p);
}

Test(npy, int32_and_int64)
{
    const int32_t  single[3] = {1, -2, INT32_MAX};
    const int64_t  full[2]   = {-7, INT64_C(1) << 52};
    size_t         total;
    struct npy     a;
    unsigned char *p = file_of(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (3,)}", single,
                               sizeof single, &total);
    cr_assert_eq(npy_parse(&a, "x", p, total, NULL), EK_OK);
    cr_assert(a.whole && a.count == 3);
    for (int i = 0; i < 3; i++) cr_assert(a.data[i] == (double)single[i]);
    npy_free(&a);
    free(p);
    p = file_of(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}", full, sizeof full,
                &total);
    cr_assert_eq(npy_parse(&a, "x", p, total, NULL), EK_OK);
    cr_assert(a.whole && a.data[0] == -7 && a.data[1] == 4503599627370496.0);
    npy_free(&a);
    free(p);
}

Test(npy, ids_come_back)
{
    char           path[] = "/tmp/ek_npy_XXXXXX";
    const uint32_t ids[4] = {0, 3, 70000, INT32_MAX};
    struct npy     a;
    const int      fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    for (size_t count = 0; count <= 4; count++) {
        cr_assert_eq(npy_write_ids(path, ids, count, NULL), EK_OK);
        cr_assert_eq(npy_read(&a, path, NULL), EK_OK);
        cr_assert(a.whole && a.dims == 1 && a.count == count);
        for (size_t i = 0; i < count; i++) cr_assert(a.data[i] == (double)ids[i]);
        npy_free(&a);
    }
    unlink(path);
}

Test(npy, reads_the_golden_logits)
{
    struct npy   a;
    struct error e = {""};
    cr_assert_eq(npy_read(&a, EK_GOLDEN "/llama2/logits.npy", &e), EK_OK, "%s", e.text);
    cr_assert(a.dims == 2 && a.shape[0] == 37 && a.shape[1] == 71);
    double largest = 0;
    for (size_t i = 0; i < a.count; i++)
        if (a.data[i] > largest) largest = a.data[i];
    cr_assert(largest > 3 && largest < 30);
    npy_free(&a);
    cr_assert_eq(npy_read(&a, EK_GOLDEN "/absent.npy", &e), EK_E_IO);
    cr_assert(strstr(e.text, "absent.npy"));
}

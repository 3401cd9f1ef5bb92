/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_peers.c - peers compare themselves with a reference when made: on odd shapes, several
 * copies, several threads, shared copies. Passes where there is no peer library. */
#include "microbench/peers.h"

#include <criterion/criterion.h>

static const struct {
    enum ek_op  op;
    enum ek_fmt fmt;
} products[] = {{EK_OP_gemv, EK_FMT_f32},
                {EK_OP_gemm, EK_FMT_f32},
                {EK_OP_gemv_i8, EK_FMT_q8g32},
                {EK_OP_gemm_i8, EK_FMT_q8g32}};
enum { PRODUCTS = sizeof products / sizeof *products };

Test(peers, agree_with_the_reference)
{
    static const struct ek_shape shapes[] = {{{1, 1, 1}}, {{33, 70, 3}}, {{67, 4096, 1}}};
    for (size_t count = 1; count < 3; count++) {
        struct threads pool;
        cr_assert(threads_start(&pool, count, NULL) == 0);
        for (size_t i = 0; i < PRODUCTS; i++)
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
                if (!peer_supports(products[i].op, products[i].fmt, &shapes[s])) continue;
                struct peer *p = peer_make(products[i].fmt, &shapes[s], 0, &pool);
                cr_assert(p, "product %zu, shape %zu, threads %zu", i, s, count);
                peer_call(p);
                peer_drop(p);
            }
        threads_stop(&pool);
    }
}

Test(peers, share_copies)
{
    const struct ek_shape one = {{33, 70, 1}}, many = {{33, 70, 9}};
    struct threads        pool;
    cr_assert(threads_start(&pool, 2, NULL) == 0);
    for (size_t i = 0; i < PRODUCTS; i++) {
        if (!peer_supports(products[i].op, products[i].fmt, &one)) continue;
        struct peer *a = peer_make(products[i].fmt, &one, 1 << 16, &pool);
        struct peer *b = peer_make(products[i].fmt, &many, 1 << 16, &pool);
        cr_assert(a && b);
        for (int call = 0; call < 20; call++) peer_call(call % 3 ? a : b);
        peer_drop(a);
        for (int call = 0; call < 20; call++) peer_call(b);
        peer_drop(b);
    }
    threads_stop(&pool);
}

Test(peers, decline_other_work)
{
    const struct ek_shape small = {{32, 64, 1}}, large = {{128256, 4096, 1}};
    cr_assert(!peer_supports(EK_OP_gemv_i8, EK_FMT_q4g32, &small));
    cr_assert(!peer_supports(EK_OP_gemv, EK_FMT_q8g32, &small));
    cr_assert(!peer_supports(EK_OP_gemv, EK_FMT_f32, &large));
    cr_assert(*peer_description());
}

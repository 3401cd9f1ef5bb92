/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_config.c - any bytes as config.json and, behind a zero byte, generation_config.json:
 * an error line, or a config that is possible and that can be written and read again. */
#include "tests/fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct config   c, again;
    struct error    e;
    const char     *text  = (const char *)data;
    const uint8_t  *zero  = bytes ? memchr(data, 0, bytes) : NULL;
    const size_t    first = zero ? (size_t)(zero - data) : bytes;
    const ek_status s     = config_parse(&c, "fuzz", text, first, zero ? text + first + 1 : NULL,
                                     zero ? bytes - first - 1 : 0, &e);
    if (s) return 0;
    require(!config_check(&c, "fuzz", &e));
    if (c.tied == CONFIG_TIED_UNSAID) c.tied = 0;
    char *written = config_write(&c), *generation = config_write_generation(&c);
    require(written && generation);
    require(!config_parse(&again, "again", written, strlen(written), generation, strlen(generation),
                          &e));
    require(again.layers == c.layers && again.window == c.window && again.tied == c.tied &&
            again.window_from == c.window_from && again.window_to == c.window_to &&
            again.eos_count == c.eos_count && again.rope.scaling == c.rope.scaling);
    free(written);
    free(generation);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/thresholds_file.h - a file of thresholds, one value everywhere. */
#ifndef EK_TESTS_THRESHOLDS_FILE_H
#define EK_TESTS_THRESHOLDS_FILE_H
#include "model/model.h"
#include "model/thresholds.h"

#include <stdio.h>

/* For the model m at path, of count taps; 0, or -1 where it cannot be written. */
static inline int thresholds_write(const char *path, const struct model *m, const enum tap *taps,
                                   size_t count, double value)
{
    struct model_facts f;
    FILE              *to = fopen(path, "w");
    if (!to) return -1;
    model_facts(m, &f);
    fprintf(to,
            "{\"format\":\"" THRESHOLDS_FORMAT "\",\"version\":%d,"
            "\"model\":{\"checksum\":\"%016llx\"},\"thresholds\":{",
            THRESHOLDS_VERSION, (unsigned long long)f.checksum);
    for (size_t i = 0; i < count; i++) {
        fprintf(to, "%s\"%s\":", i ? "," : "", tap_name(taps[i]));
        for (size_t l = 0; l < model_config(m)->layers; l++)
            fprintf(to, "%c%g", l ? ',' : '[', value);
        fputc(']', to);
    }
    fputs("}}", to);
    return fclose(to);
}
#endif

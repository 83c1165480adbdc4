#ifndef MOE_TEXT_NORMAL_FORM_H
#define MOE_TEXT_NORMAL_FORM_H
/* NFC, NFD, NFKC and NFKD as the reference computes them: with the mappings of Unicode 9. */

#include "base/status.h"
#include "text/buffer.h"

enum moe_normal_form { MOE_NFC, MOE_NFD, MOE_NFKC, MOE_NFKD };

/* Appends the normal form of text [n] to *out. */
moe_status moe_normal_form(struct moe_bytes *out, const char *text, size_t n, enum moe_normal_form form,
                           moe_error *err);

#endif

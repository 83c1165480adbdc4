#ifndef MOE_TESTS_TOKENIZERS_H
#define MOE_TESTS_TOKENIZERS_H
/* Small tokenizer.json files written into a test: opened, and asked. In their text ' stands for ". */

#include "engine/moe.h"

#define MODEL(vocab, merges)            "'model':{'type':'BPE','vocab':{" vocab "},'merges':[" merges "]}"
#define PLAIN                           MODEL("'a':0,'b':1,'ab':2", "'a b'")
/* A member of added_tokens. */
#define TOKEN_FLAGS(id, content, flags) "{'id':" id ",'content':'" content "'," flags "}"
#define FLAGS(single_word, lstrip, rstrip, normalized, special)                                              \
    "'single_word':" single_word ",'lstrip':" lstrip ",'rstrip':" rstrip ",'normalized':" normalized         \
    ",'special':" special
#define TOKEN(id, content) TOKEN_FLAGS(id, content, FLAGS("false", "false", "false", "true", "false"))

/* Opens the text as a file of the test's directory (tests/loader/files.h). */
moe_status tokenizers_open(moe_tokenizer **out, const char *text, moe_error *err);
/* The same where it must succeed. */
moe_tokenizer *tokenizers_good(const char *text);
/* An error of this status, one line that names the file and contains `what`. */
void tokenizers_refused(const char *text, moe_status want, const char *what);

/* `want` is like "0 1 2". */
void tokenizers_encode(const moe_tokenizer *tokenizer, const char *text, const char *want);
void tokenizers_decode(const moe_tokenizer *tokenizer, const uint32_t *ids, size_t n, const char *want);

#endif

/* The index of names: every size, duplicates, and names chosen to share one bucket. */
#include "loader/names.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

Test(names, finds_each_and_nothing_else) {
    enum { MOST = 200 };
    static char texts[MOST][16];
    static struct moe_name names[MOST];
    for (size_t n = 0; n < MOST; n++) {
        struct moe_names index;
        const struct moe_name *twice;
        moe_error err;
        cr_assert(moe_names_build(&index, &twice, names, n, &err) == MOE_OK && twice == NULL);
        for (size_t i = 0; i < n; i++) cr_expect(moe_names_find(&index, texts[i]) == &texts[i]);
        cr_expect(moe_names_find(&index, "") == NULL && moe_names_find(&index, "name") == NULL);
        cr_expect(moe_names_find(&index, "name10000") == NULL);
        moe_names_free(&index);
        snprintf(texts[n], sizeof texts[n], "name%zu", n);
        names[n] = (struct moe_name){texts[n], &texts[n]};
    }
}

Test(names, tells_the_two_that_are_equal) {
    static const struct moe_name names[] = {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"b", "4"}, {"d", "5"}};
    struct moe_names index;
    const struct moe_name *twice;
    moe_error err;
    cr_assert(moe_names_build(&index, &twice, names, 5, &err) == MOE_OK);
    cr_assert(twice != NULL && strcmp(twice[0].name, "b") == 0 && strcmp(twice[1].name, "b") == 0);
    cr_expect(twice[0].value != twice[1].value);
    moe_names_free(&index);
}

/* The hash is public: a file can be made whose names all meet. Sorted buckets keep that harmless. */
Test(names, survives_chosen_collisions) {
    enum { N = 4096, BITS = 12 };
    static char texts[N][24];
    static struct moe_name names[N];
    size_t n = 0;
    for (uint64_t try = 0; n < N; try++) {
        int length = snprintf(texts[n], sizeof texts[n], "x%llu", (unsigned long long)try);
        if (XXH3_64bits(texts[n], (size_t)length) >> (64 - BITS) != 0) continue;
        names[n] = (struct moe_name){texts[n], &texts[n]};
        n++;
    }
    struct moe_names index;
    const struct moe_name *twice;
    moe_error err;
    cr_assert(moe_names_build(&index, &twice, names, N, &err) == MOE_OK && twice == NULL);
    cr_assert(index.first[1] == N, "they do not meet: this test tests nothing");
    for (size_t i = 0; i < N; i++) cr_expect(moe_names_find(&index, texts[i]) == &texts[i]);
    cr_expect(moe_names_find(&index, "x") == NULL);
    moe_names_free(&index);
}

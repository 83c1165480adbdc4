#include "models/family.h"

#include <stddef.h>
#include <string.h>

static const struct moe_family *const families[] = {
#define MOE_FAMILY(id) &moe_family_##id,
#include "models/families.def"
#undef MOE_FAMILY
};

static const struct {
    const char *model_type, *lacks;
} refused[] = {
#define MOE_REFUSED(type, lacks) {type, lacks},
#include "models/refused.def"
#undef MOE_REFUSED
};

static const char *const usual_names[MOE_T_COUNT] = {
#define MOE_TENSOR(role, name) [MOE_T_##role] = name,
#include "models/tensors.def"
#undef MOE_TENSOR
};

const struct moe_family *moe_family_find(const char *model_type, const char **reason) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i]->model_type, model_type) ||
            (families[i]->also && !strcmp(families[i]->also, model_type)) ||
            (families[i]->part_of && !strcmp(families[i]->part_of, model_type)))
            return families[i];
    if (!reason) return NULL;
    *reason = "an architecture that this engine does not know";
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (!strcmp(refused[i].model_type, model_type)) *reason = refused[i].lacks;
    return NULL;
}

const char *moe_family_tensor(const struct moe_family *family, enum moe_tensor_role role) {
    return family->tensor[role] ? family->tensor[role] : usual_names[role];
}

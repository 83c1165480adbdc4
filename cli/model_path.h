#ifndef MOE_CLI_MODEL_PATH_H
#define MOE_CLI_MODEL_PATH_H
/* Which directory a user means. */

/* The directory of `model`: a path; or org/name, or name, in the Hugging Face cache; NULL: the checkpoint
 * that ships with the project. Free it with free(). Ends the program when there is none. Nothing is
 * downloaded or written. */
char *model_path(const char *model);

#endif

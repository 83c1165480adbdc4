/* Cross builds only. Criterion runs each test in a new process, which it starts by executing the test binary
 * once more; under qemu-user the kernel would be handed a foreign binary and refuse it, unless the machine
 * has a binfmt entry, which needs root and a mounted binfmt_misc. So this definition, which Criterion's
 * shared library resolves to, goes through the emulator again. */

#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) int execve(const char *path, char *const argv[], char *const envp[]) {
    enum { N_EMULATOR = 4 };
    size_t n = 0;
    while (argv[n] != NULL) n++;
    const char **args = calloc(N_EMULATOR + n + 1, sizeof *args);
    if (args == NULL) return -1;
    args[0] = MOE_EMULATOR;
    args[1] = "-L";
    args[2] = MOE_SYSROOT;
    args[3] = path;
    for (size_t i = 1; i < n; i++) args[N_EMULATOR + i - 1] = argv[i];
    int result = (int)syscall(SYS_execve, MOE_EMULATOR, args, envp);
    free(args);
    return result;
}

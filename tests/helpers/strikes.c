/* Strikes at one of the calls by which a process changes files below a folder.

   Preloaded (LD_PRELOAD) it stands between a program with all its libraries and the C library, and
   counts opening for writing, write, fsync, rename, mkdir, unlink, rmdir, truncate and their kin.
   What the C library's own streams (FILE) write is not seen, their opening is. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT = 0, BEFORE = 1, WITHIN = 2, AFTER = 3 };

static char root[4096];
static size_t root_length;
static long strike_at;
static int strike_how;
static int log_fd = -1;
static atomic_long counted;

/* Counts from now on, and strikes at call `at`: kills the process BEFORE, WITHIN (a write of half of
   the bytes) or AFTER it, or has it fail with the errno -how. Each call is a line of `log`. */
void strikes_arm(const char *folder, long at, int how, int log)
{
    snprintf(root, sizeof root, "%s/", folder);
    root_length = strlen(root);
    strike_at = at;
    strike_how = how;
    log_fd = log;
}

static void end(void)
{
    syscall(SYS_exit_group, 137);
}

static int strikes(const char *call, const char *path)
{
    char line[4200];
    if (!root_length || strncmp(path, root, root_length) != 0)
        return 0;
    long number = atomic_fetch_add(&counted, 1) + 1;
    int length = snprintf(line, sizeof line, "%s %s\n", call, path + root_length);
    syscall(SYS_write, log_fd, line, length);
    return number == strike_at;
}

static const char *of_fd(int fd, char *path)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, 4095);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

static const char *at(int folder, const char *path, char *whole)
{
    if (path[0] == '/')
        return path;
    if (folder == AT_FDCWD) {
        if (!getcwd(whole, 4000))
            return path;
    } else {
        of_fd(folder, whole);
    }
    size_t length = strlen(whole);
    snprintf(whole + length, 8192 - length, "/%s", path);
    return whole;
}

#define STRUCK(CALL, PATH, RESULT, DO)                       \
    do {                                                     \
        int hit = root_length ? strikes(CALL, PATH) : 0;     \
        if (hit && strike_how < 0) {                         \
            errno = -strike_how;                             \
            return -1;                                       \
        }                                                    \
        if (hit && strike_how == BEFORE)                     \
            end();                                           \
        RESULT done = (RESULT)(DO);                          \
        if (hit)                                             \
            end();                                           \
        return done;                                         \
    } while (0)

#define ON_FD(CALL, FD, RESULT, DO)                          \
    do {                                                     \
        char path[4096] = "";                                \
        if (root_length)                                     \
            of_fd(FD, path);                                 \
        STRUCK(CALL, path, RESULT, DO);                      \
    } while (0)

#define ON_PATH(CALL, FOLDER, NAME, RESULT, DO)              \
    do {                                                     \
        char whole[8192] = "";                               \
        const char *path = at(FOLDER, NAME, whole);          \
        STRUCK(CALL, path, RESULT, DO);                      \
    } while (0)

static size_t of(size_t size)
{
    return strike_how == WITHIN && atomic_load(&counted) == strike_at ? (size + 1) / 2 : size;
}

static int opened(int folder, const char *name, int flags, int mode)
{
    if (!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)))
        return syscall(SYS_openat, folder, name, flags, mode);
    ON_PATH("open", folder, name, int, syscall(SYS_openat, folder, name, flags, mode));
}

#define MODE(FLAGS, MODE_)                                   \
    int MODE_ = 0;                                           \
    if ((FLAGS) & (O_CREAT | O_TMPFILE)) {                   \
        va_list more;                                        \
        va_start(more, FLAGS);                               \
        MODE_ = va_arg(more, int);                           \
        va_end(more);                                        \
    }

int open(const char *name, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags, mode) return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags, mode) return opened(folder, name, flags, mode); }
int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static FILE *streamed(const char *which, const char *name, const char *mode)
{
    FILE *(*next)(const char *, const char *) = dlsym(RTLD_NEXT, which);
    char whole[8192] = "";
    int hit = root_length && strpbrk(mode, "wa+") && strikes("open", at(AT_FDCWD, name, whole));
    if (hit && strike_how < 0) {
        errno = -strike_how;
        return NULL;
    }
    if (hit && strike_how == BEFORE)
        end();
    FILE *done = next(name, mode);
    if (hit)
        end();
    return done;
}

FILE *fopen(const char *name, const char *mode) { return streamed("fopen", name, mode); }
FILE *fopen64(const char *name, const char *mode) { return streamed("fopen64", name, mode); }

ssize_t write(int fd, const void *bytes, size_t size) { ON_FD("write", fd, ssize_t, syscall(SYS_write, fd, bytes, of(size))); }
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t place) { ON_FD("write", fd, ssize_t, syscall(SYS_pwrite64, fd, bytes, of(size), place)); }
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t place) { ON_FD("write", fd, ssize_t, syscall(SYS_pwrite64, fd, bytes, of(size), place)); }
ssize_t writev(int fd, const struct iovec *parts, int count) { ON_FD("write", fd, ssize_t, syscall(SYS_writev, fd, parts, count)); }
ssize_t sendfile(int fd, int from, off_t *place, size_t size) { ON_FD("write", fd, ssize_t, syscall(SYS_sendfile, fd, from, place, of(size))); }
ssize_t sendfile64(int fd, int from, off64_t *place, size_t size) { ON_FD("write", fd, ssize_t, syscall(SYS_sendfile, fd, from, place, of(size))); }
ssize_t copy_file_range(int from, off64_t *there, int fd, off64_t *here, size_t size, unsigned flags) { ON_FD("write", fd, ssize_t, syscall(SYS_copy_file_range, from, there, fd, here, of(size), flags)); }

/* Only a power cut would show whether they are done, and they take most of the time. */
int fsync(int fd) { ON_FD("fsync", fd, int, 0); }
int fdatasync(int fd) { ON_FD("fsync", fd, int, 0); }
int ftruncate(int fd, off_t size) { ON_FD("truncate", fd, int, syscall(SYS_ftruncate, fd, size)); }
int ftruncate64(int fd, off64_t size) { ON_FD("truncate", fd, int, syscall(SYS_ftruncate, fd, size)); }
int truncate(const char *name, off_t size) { ON_PATH("truncate", AT_FDCWD, name, int, syscall(SYS_truncate, name, size)); }
int fallocate(int fd, int mode, off_t place, off_t size) { ON_FD("truncate", fd, int, syscall(SYS_fallocate, fd, mode, place, size)); }

int rename(const char *old, const char *new) { ON_PATH("rename", AT_FDCWD, new, int, syscall(SYS_renameat2, AT_FDCWD, old, AT_FDCWD, new, 0)); }
int renameat(int from, const char *old, int to, const char *new) { ON_PATH("rename", to, new, int, syscall(SYS_renameat2, from, old, to, new, 0)); }
int link(const char *old, const char *new) { ON_PATH("link", AT_FDCWD, new, int, syscall(SYS_linkat, AT_FDCWD, old, AT_FDCWD, new, 0)); }
int linkat(int from, const char *old, int to, const char *new, int flags) { ON_PATH("link", to, new, int, syscall(SYS_linkat, from, old, to, new, flags)); }
int symlink(const char *old, const char *new) { ON_PATH("link", AT_FDCWD, new, int, syscall(SYS_symlinkat, old, AT_FDCWD, new)); }
/* What changes nothing does not count: a folder that is there, a file that is not. */
#define LOST(FOLDER, NAME, WHEN) (root_length && (faccessat(FOLDER, NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0) == (WHEN))

int mkdirat(int folder, const char *name, mode_t mode)
{
    if (LOST(folder, name, 1))
        return syscall(SYS_mkdirat, folder, name, mode);
    ON_PATH("mkdir", folder, name, int, syscall(SYS_mkdirat, folder, name, mode));
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int unlinkat(int folder, const char *name, int flags)
{
    if (LOST(folder, name, 0))
        return syscall(SYS_unlinkat, folder, name, flags);
    ON_PATH(flags & AT_REMOVEDIR ? "rmdir" : "unlink", folder, name, int, syscall(SYS_unlinkat, folder, name, flags));
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char *name)
{
    int done = unlink(name);
    return done && errno == EISDIR ? rmdir(name) : done;
}

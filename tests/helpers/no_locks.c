/* A file system without locks, as some network file systems are mounted: preloaded (LD_PRELOAD),
   every lock on a file is refused with ENOLCK. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

int flock(int fd, int operation)
{
    (void)fd;
    (void)operation;
    errno = ENOLCK;
    return -1;
}

static int controlled(int fd, int command, void *argument)
{
    switch (command) {
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        errno = ENOLCK;
        return -1;
    }
    return syscall(SYS_fcntl, fd, command, argument);
}

#define CONTROL(NAME)                              \
    int NAME(int fd, int command, ...)             \
    {                                              \
        va_list more;                              \
        va_start(more, command);                   \
        void *argument = va_arg(more, void *);     \
        va_end(more);                              \
        return controlled(fd, command, argument);  \
    }

CONTROL(fcntl)
CONTROL(fcntl64)

int lockf(int fd, int command, off_t size)
{
    (void)fd;
    (void)command;
    (void)size;
    errno = ENOLCK;
    return -1;
}

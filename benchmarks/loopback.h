/* What load.c and upstream.c share: files as bytes, sockets of loopback, headers of HTTP/1.1. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, EVENTS = 256 };

typedef struct {
    char *data;
    size_t length;
} Bytes;

static void die(const char *what) {
    perror(what);
    exit(2);
}

static Bytes read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    Bytes bytes = {malloc(BUFFER), 0};
    bytes.length = fread(bytes.data, 1, BUFFER - 1, file);
    bytes.data[bytes.length] = 0;
    fclose(file);
    return bytes;
}

static void watch(int epoll, int fd, void *what) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

/* All of it, or false. What is sent here fits a socket's buffer, unless nobody reads. */
static int send_all(int fd, const char *data, size_t length) {
    for (int tries = 0; length && tries < 20000; tries++) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            length -= sent;
        } else if (errno == EAGAIN || errno == EINTR) {
            usleep(50);
        } else {
            return 0;
        }
    }
    return !length;
}

/* A header's value in a head that ends with an empty line; names of any case. */
static const char *find_header(const char *head, size_t length, const char *name) {
    size_t size = strlen(name);
    for (const char *line = head; (line = memchr(line, '\n', head + length - line)) != NULL;) {
        line++;
        if ((size_t)(head + length - line) > size && !strncasecmp(line, name, size) && line[size] == ':') {
            for (line += size + 1; *line == ' '; line++) {}
            return line;
        }
    }
    return NULL;
}

/* A timer that is ready each so many nanoseconds from now on. */
static int open_timer(int epoll, long pause_ns, void *what) {
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec ticks = {{pause_ns / 1000000000, pause_ns % 1000000000}, {0, 1000}};
    timerfd_settime(timer, 0, &ticks, NULL);
    watch(epoll, timer, what);
    return timer;
}

/* Load generator of benchmarks/ingest.py: every request of a file once, over HTTP/1.1 on loopback, one thread, epoll.
 *
 *   replay PORT CONNECTIONS FILE
 *       FILE holds requests, each behind its length (32 bits, little-endian). A connection sends its next one as soon as
 *       the answer before it is complete. Prints one JSON object: how many were answered with 2xx (`ok`) or not
 *       (`other`, and the `first_other` answer's status), the time in all, and percentiles of the answers' times.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 20, EVENTS = 128 };

typedef struct {
    int fd;
    const char *out;
    size_t left, have;
    int stuck; /* waits until its socket takes more */
    double begun;
    char *in;
} Connection;

static const char *next_request, *file_end;
static double *times;
static size_t answered, ok, other;
static int first_other;

static void die(const char *what) {
    perror(what);
    exit(2);
}

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

/* Writes what is left of a request; a full socket goes on when it is writable. */
static void push(int epoll, Connection *at) {
    while (at->left) {
        ssize_t done = send(at->fd, at->out, at->left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0) break;
        at->out += done;
        at->left -= done;
    }
    if (at->stuck == (at->left > 0)) return;
    at->stuck = at->left > 0;
    struct epoll_event event = {.events = EPOLLIN | (at->stuck ? EPOLLOUT : 0), .data.ptr = at};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, at->fd, &event)) die("epoll_ctl");
}

/* Takes the next request of the file; 0 when there is none. */
static int begin(int epoll, Connection *at) {
    if (next_request >= file_end) return 0;
    uint32_t length;
    memcpy(&length, next_request, 4);
    at->out = next_request + 4;
    at->left = length;
    next_request += 4 + (size_t)length;
    at->have = 0;
    at->begun = now();
    push(epoll, at);
    return 1;
}

/* The whole answer's length, or 0 while its head is not complete. */
static size_t measure(Connection *at) {
    at->in[at->have] = 0;
    char *end = strstr(at->in, "\r\n\r\n");
    if (!end) return 0;
    char *length = strcasestr(at->in, "\r\ncontent-length:");
    if (!length || length > end) {
        fprintf(stderr, "an answer without content-length: %.200s\n", at->in);
        exit(2);
    }
    return (end - at->in) + 4 + strtoul(length + 17, NULL, 10);
}

static int compare(const void *one, const void *two) {
    double a = *(const double *)one, b = *(const double *)two;
    return (a > b) - (a < b);
}

static void finish(Connection *at) {
    int status = atoi(at->in + 9);
    if (status >= 200 && status < 300) ok++;
    else {
        if (!other++) first_other = status;
    }
    times[answered++] = now() - at->begun;
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: replay PORT CONNECTIONS FILE\n");
        return 2;
    }
    int connections = atoi(arguments[2]), file = open(arguments[3], O_RDONLY);
    struct stat facts;
    if (file < 0 || fstat(file, &facts)) die(arguments[3]);
    next_request = mmap(NULL, facts.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (next_request == MAP_FAILED) die("mmap");
    file_end = next_request + facts.st_size;
    times = malloc(sizeof(double) * (facts.st_size / 20 + 1));
    int epoll = epoll_create1(0), open_ones = 0;
    Connection *all = calloc(connections, sizeof(Connection));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    double begun = now();
    for (int place = 0; place < connections; place++) {
        Connection *at = &all[place];
        int on = 1;
        at->fd = socket(AF_INET, SOCK_STREAM, 0);
        at->in = malloc(BUFFER + 1);
        if (connect(at->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
        setsockopt(at->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = at};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, at->fd, &event)) die("epoll_ctl");
        open_ones += begin(epoll, at);
    }
    struct epoll_event events[EVENTS];
    while (open_ones) {
        int found = epoll_wait(epoll, events, EVENTS, 30000);
        if (!found) {
            fprintf(stderr, "no answer for 30 s\n");
            return 2;
        }
        for (int place = 0; place < found; place++) {
            Connection *at = events[place].data.ptr;
            if (events[place].events & EPOLLOUT) push(epoll, at);
            if (!(events[place].events & EPOLLIN)) continue;
            ssize_t got = recv(at->fd, at->in + at->have, BUFFER - at->have, 0);
            if (got <= 0) {
                fprintf(stderr, "the server closed a connection within an answer\n");
                return 2;
            }
            at->have += got;
            size_t whole = measure(at);
            if (!whole || at->have < whole) continue;
            finish(at);
            if (!begin(epoll, at)) open_ones--;
        }
    }
    double seconds = now() - begun;
    qsort(times, answered, sizeof(double), compare);
    printf("{\"ok\": %zu, \"other\": %zu, \"first_other\": %d, \"seconds\": %.6f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", ok,
           other, first_other, seconds, 1e3 * times[answered / 2], 1e3 * times[(size_t)(answered * 0.99)]);
    return 0;
}

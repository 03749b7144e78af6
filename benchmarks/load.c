/* The load generator of benchmarks/router.py: HTTP/1.1 over loopback, keep-alive, one thread, epoll.
 *
 *   load PORT CONNECTIONS REQUESTS REQUEST RATE
 *
 * sends the bytes of REQUEST (head and body) REQUESTS times over CONNECTIONS connections: RATE a second, or, where that
 * is 0, each as soon as the connection's last answer is complete. "@@@@@@@@" becomes the request's number. Prints one
 * JSON object; `digest` is FNV-1a of a decoded body, `differing` says how many were unlike the first, `ok` counts
 * answers of status 200, `broken` what got none.
 */
#include "loopback.h"

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

typedef struct {
    int fd;
    size_t filled;
    int headed, status, chunked, closing;
    long left; /* of the body, or of the chunk with its line end; -1: a chunk's size comes next */
    uint64_t digest;
    double began;
    char in[BUFFER];
} Link;

static struct sockaddr_in target;
static Bytes request;
static char *mark;
static long issued, total, done, ok, broken, differing, chunks, bytes;
static uint64_t first_digest;
static double *latencies;

static void open_link(Link *link, int epoll) {
    int one = 1;
    link->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(link->fd, (void *)&target, sizeof target)) die("connect");
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(link->fd, F_SETFL, O_NONBLOCK);
    watch(epoll, link->fd, link);
}

static void send_next(Link *link) {
    link->filled = link->headed = link->closing = 0;
    link->digest = 0xcbf29ce484222325;
    if (issued == total) return;
    if (mark) {
        char number[32];
        snprintf(number, sizeof number, "%08ld", issued % 100000000);
        memcpy(mark, number, 8);
    }
    issued++;
    link->began = now();
    send_all(link->fd, request.data, request.length); /* a failure shows as the connection's end */
}

static void take_body(Link *link, const char *data, size_t length) {
    bytes += length;
    for (size_t i = 0; i < length; i++) link->digest = (link->digest ^ (uint8_t)data[i]) * 0x100000001b3;
}

static void read_head(Link *link, size_t head) {
    const char *told = find_header(link->in, head, "content-length");
    const char *coding = find_header(link->in, head, "transfer-encoding");
    const char *connection = find_header(link->in, head, "connection");
    link->status = atoi(link->in + 9);
    link->chunked = coding && !strncasecmp(coding, "chunked", 7);
    link->closing = connection && !strncasecmp(connection, "close", 5);
    link->left = link->chunked ? -1 : told ? atol(told) : 0;
    link->headed = 1;
}

/* Takes what has come; true when the answer is complete. */
static int take(Link *link) {
    size_t at = 0;
    int complete = 0;
    link->in[link->filled] = 0;
    if (!link->headed) {
        char *stop = strstr(link->in, "\r\n\r\n");
        if (!stop) return 0;
        at = stop + 4 - link->in;
        read_head(link, at);
    }
    while (!complete) {
        size_t have = link->filled - at;
        if (!link->chunked) {
            size_t part = have < (size_t)link->left ? have : (size_t)link->left;
            take_body(link, link->in + at, part);
            at += part;
            complete = !(link->left -= part);
            break;
        }
        if (link->left < 0) {
            char *line = memmem(link->in + at, have, "\r\n", 2);
            if (!line) break;
            long size = strtol(link->in + at, NULL, 16);
            if (!size && have < (size_t)(line + 4 - link->in - at)) break;
            at = line + 2 - link->in + (size ? 0 : 2);
            complete = !size;
            chunks += size > 0;
            link->left = size + 2;
        } else {
            if (!have) break;
            long part = (long)have < link->left ? (long)have : link->left;
            long text = link->left - 2 < part ? link->left - 2 : part;
            if (text > 0) take_body(link, link->in + at, text);
            at += part;
            if (!(link->left -= part)) link->left = -1;
        }
    }
    memmove(link->in, link->in + at, link->filled - at);
    link->filled -= at;
    return complete;
}

static void finish(Link *link) {
    latencies[done++] = now() - link->began;
    ok += link->status == 200;
    if (done == 1) first_digest = link->digest;
    differing += link->digest != first_digest;
}

/* One request for each tick that passed, on the connections that have none, in turn. */
static void send_due(Link *links, int count, int timer) {
    static uint64_t due;
    static int turn;
    uint64_t passed = 0;
    if (read(timer, &passed, sizeof passed) > 0) due += passed;
    for (int i = 0; i < count && due; i++, turn = (turn + 1) % count) {
        if (links[turn].began > 0) continue;
        send_next(&links[turn]);
        due--;
    }
}

static int compare(const void *one, const void *two) {
    double a = *(const double *)one, b = *(const double *)two;
    return (a > b) - (a < b);
}

static void drive(char **arguments) {
    int count = atoi(arguments[1]), epoll = epoll_create1(0), timer;
    double rate = atof(arguments[4]);
    target.sin_family = AF_INET;
    target.sin_port = htons(atoi(arguments[0]));
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    total = atol(arguments[2]);
    request = read_file(arguments[3]);
    mark = strstr(request.data, "@@@@@@@@");
    latencies = calloc(total + 1, sizeof *latencies);
    Link *links = calloc(count, sizeof *links);
    double began = now();
    for (int i = 0; i < count; i++) {
        open_link(&links[i], epoll);
        if (!rate) send_next(&links[i]);
    }
    if (rate) timer = open_timer(epoll, 1e9 / rate, &timer);
    struct epoll_event ready[EVENTS];
    while (done + broken < total) {
        int met = epoll_wait(epoll, ready, EVENTS, 60000);
        if (!met) exit((fprintf(stderr, "nothing came for 60 s; %ld of %ld answered\n", done, total), 3));
        for (int i = 0; i < met; i++) {
            if (ready[i].data.ptr == &timer) {
                send_due(links, count, timer);
                continue;
            }
            Link *link = ready[i].data.ptr;
            ssize_t got = recv(link->fd, link->in + link->filled, BUFFER - 1 - link->filled, 0);
            if (got < 0 && errno == EAGAIN) continue;
            int complete = got > 0 && (link->filled += got, take(link));
            if (complete) finish(link);
            if (got <= 0) broken += link->began > 0;
            if (got <= 0 || (complete && link->closing)) {
                close(link->fd);
                link->began = 0;
                open_link(link, epoll);
                complete = 1;
            }
            if (complete) link->began = 0;
            if (complete && !rate) send_next(link);
        }
    }
    double took = now() - began;
    qsort(latencies, done, sizeof *latencies, compare);
    printf("{\"answered\": %ld, \"ok\": %ld, \"broken\": %ld, \"differing\": %ld, \"digest\": \"%016lx\", \"chunks\": %ld,"
           " \"bytes\": %ld, \"took_s\": %.6f, \"p50_ms\": %.4f, \"p99_ms\": %.4f}\n",
           done, ok, broken, differing, (unsigned long)first_digest, chunks, bytes, took,
           done ? 1e3 * latencies[done / 2] : 0, done ? 1e3 * latencies[done * 99 / 100] : 0);
}

int main(int count, char **arguments) {
    if (count != 6) return fprintf(stderr, "usage: load PORT CONNECTIONS REQUESTS REQUEST RATE\n"), 2;
    drive(arguments + 1);
}

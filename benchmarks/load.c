/* Load generator and upstream of benchmarks/router.py: HTTP/1.1 over loopback, keep-alive, one thread, epoll.
 *
 *   load serve PLAIN STREAM INTERVAL_US
 *       Prints its port, then answers every POST with the bytes of PLAIN. A body that holds "stream":true gets STREAM's
 *       events instead, one chunk each: the first at once, then one each INTERVAL_US. "max_tokens":N sends the first
 *       N - 2 events and the file's last two (the one with finish_reason, and [DONE]).
 *   load drive PORT CONNECTIONS REQUESTS REQUEST
 *       Sends the bytes of REQUEST (head and body) REQUESTS times over CONNECTIONS connections, each as soon as the
 *       answer before it is complete. "@@@@@@@@" becomes the request's number. Prints one JSON object; `digest` is FNV-1a
 *       of a decoded body, `digests` says how many bodies were unlike the first, `ok` counts answers of status 200.
 */
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
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, EVENTS = 256, MOST_EVENTS = 4096, MOST_STREAMS = 4096 };

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

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
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

/* ---- serve */

typedef struct {
    int fd;
    int next, last; /* of the stream's events; streaming while next < last */
    int slot;
    size_t filled;
    char in[BUFFER];
} Client;

static Bytes plain, events[MOST_EVENTS];
static int event_count, stream_count;
static Client *streams[MOST_STREAMS];

static void cut_events(Bytes file) {
    char *at = file.data, *end = file.data + file.length, *stop;
    while (event_count < MOST_EVENTS && at < end && (stop = strstr(at, "\n\n")) != NULL) {
        size_t size = stop + 2 - at;
        events[event_count].data = malloc(size + 32);
        int head = sprintf(events[event_count].data, "%zx\r\n", size);
        memcpy(events[event_count].data + head, at, size);
        memcpy(events[event_count].data + head + size, "\r\n", 2);
        events[event_count++].length = head + size + 2;
        at = stop + 2;
    }
    if (event_count < 3) exit((fprintf(stderr, "expected a stream of at least 3 events\n"), 2));
}

static void drop_stream(Client *client) {
    if (client->slot < 0) return;
    streams[client->slot] = streams[--stream_count];
    streams[client->slot]->slot = client->slot;
    client->slot = -1;
}

static void drop_client(Client *client) {
    drop_stream(client);
    close(client->fd);
    free(client);
}

static int send_event(Client *client) {
    int left = client->last - client->next++;
    Bytes event = left <= 2 ? events[event_count - left] : events[client->next - 1];
    if (!send_all(client->fd, event.data, event.length)) return 0;
    if (client->next < client->last) return 1;
    drop_stream(client);
    return send_all(client->fd, "0\r\n\r\n", 5);
}

static int begin_stream(Client *client, const char *body) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    const char *asked = strstr(body, "\"max_tokens\":");
    int count = asked ? atoi(asked + 13) : event_count;
    client->next = 0;
    client->last = count < 3 ? 3 : count > event_count ? event_count : count;
    if (stream_count == MOST_STREAMS) return 0;
    client->slot = stream_count;
    streams[stream_count++] = client;
    return send_all(client->fd, head, sizeof head - 1) && send_event(client);
}

/* Answers each request that is whole; false when the connection is of no use any more. */
static int answer(Client *client) {
    ssize_t got = recv(client->fd, client->in + client->filled, BUFFER - 1 - client->filled, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    client->filled += got;
    client->in[client->filled] = 0;
    char *stop = strstr(client->in, "\r\n\r\n");
    if (!stop) return 1;
    size_t head = stop + 4 - client->in;
    const char *told = find_header(client->in, head, "content-length");
    size_t whole = head + (told ? strtoul(told, NULL, 10) : 0);
    if (client->filled < whole) return whole < BUFFER - 1;
    char *body = client->in + head;
    int streamed = strstr(body, "\"stream\":true") || strstr(body, "\"stream\": true");
    client->filled = 0;
    if (streamed) return begin_stream(client, body);
    return send_all(client->fd, plain.data, plain.length);
}

static int listen_somewhere(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    if (bind(fd, (void *)&at, size) || listen(fd, 1024) || getsockname(fd, (void *)&at, &size)) die("listen");
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void serve(char **arguments) {
    Bytes body = read_file(arguments[0]);
    plain.data = malloc(BUFFER);
    plain.length = sprintf(
        plain.data, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body.length);
    memcpy(plain.data + plain.length, body.data, body.length);
    plain.length += body.length;
    cut_events(read_file(arguments[1]));
    int listener = listen_somewhere(), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), epoll = epoll_create1(0);
    long pause_ns = 1000 * atol(arguments[2]);
    struct itimerspec ticks = {{pause_ns / 1000000000, pause_ns % 1000000000}, {0, 1000000}};
    timerfd_settime(timer, 0, &ticks, NULL);
    watch(epoll, listener, &listener);
    watch(epoll, timer, &timer);
    struct epoll_event ready[EVENTS];
    for (;;) {
        int count = epoll_wait(epoll, ready, EVENTS, -1), ticked = 0;
        for (int i = 0; i < count; i++) {
            if (ready[i].data.ptr == &timer) {
                ticked = 1;
            } else if (ready[i].data.ptr == &listener) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), one = 1;
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                Client *client = calloc(1, sizeof *client);
                client->fd = fd;
                client->slot = -1;
                watch(epoll, fd, client);
            } else if (!answer(ready[i].data.ptr)) {
                drop_client(ready[i].data.ptr);
            }
        }
        if (!ticked) continue; /* after the others: what they dropped is not in `streams` any more */
        uint64_t passed;
        if (read(timer, &passed, sizeof passed) < 0) continue;
        for (int i = stream_count - 1; i >= 0; i--)
            if (i < stream_count && !send_event(streams[i])) shutdown(streams[i]->fd, SHUT_RDWR), drop_stream(streams[i]);
    }
}

/* ---- drive */

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
        char number[9];
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

static int compare(const void *one, const void *two) {
    double a = *(const double *)one, b = *(const double *)two;
    return (a > b) - (a < b);
}

static void drive(char **arguments) {
    int count = atoi(arguments[1]), epoll = epoll_create1(0);
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
        send_next(&links[i]);
    }
    struct epoll_event ready[EVENTS];
    while (done + broken < total) {
        int met = epoll_wait(epoll, ready, EVENTS, 60000);
        if (!met) exit((fprintf(stderr, "nothing came for 60 s; %ld of %ld answered\n", done, total), 3));
        for (int i = 0; i < met; i++) {
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
            if (complete) link->began = 0, send_next(link);
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
    signal(SIGPIPE, SIG_IGN);
    if (count == 5 && !strcmp(arguments[1], "serve")) serve(arguments + 2);
    else if (count == 6 && !strcmp(arguments[1], "drive")) drive(arguments + 2);
    else return fprintf(stderr, "usage: load serve PLAIN STREAM INTERVAL_US | load drive PORT CONNECTIONS REQUESTS REQUEST\n"), 2;
    return 0;
}

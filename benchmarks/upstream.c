/* The upstream of benchmarks/router.py: answers of HTTP/1.1 over loopback, keep-alive, one thread, epoll.
 *
 *   upstream PLAIN STREAM INTERVAL_US
 *
 * prints its port, then answers every POST with the bytes of PLAIN. A body that holds "stream":true gets STREAM's events
 * instead, one chunk each: the first at once, then one each INTERVAL_US. "max_tokens":N sends the first N - 2 events
 * and the file's last two (the one with finish_reason, and [DONE]).
 */
#include "loopback.h"

enum { MOST_EVENTS = 4096, MOST_STREAMS = 4096 };

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
    int epoll = epoll_create1(0), listener = listen_somewhere(), timer;
    timer = open_timer(epoll, 1000 * atol(arguments[2]), &timer);
    watch(epoll, listener, &listener);
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

int main(int count, char **arguments) {
    if (count != 4) return fprintf(stderr, "usage: upstream PLAIN STREAM INTERVAL_US\n"), 2;
    serve(arguments + 1);
}

// A simulation by discrete events: `n` customers go through a shop with three tills. Events wait in
// a priority queue and are handled through a table of function pointers; handlers schedule further
// events. Answers a checksum of waiting times.
#include "guest.h"

#define TILLS 3
#define QUEUE 4096

typedef struct Shop Shop;

typedef struct {
    uint64_t time;
    uint32_t handler;
    uint32_t customer;
} Event;

typedef void Handler(Shop *shop, const Event *event);

struct Shop {
    Event queue[QUEUE];
    uint32_t queued;
    Random random;
    // Customers who wait, as a ring, and since when.
    struct {
        uint32_t customer;
        uint64_t since;
    } line[QUEUE];
    uint32_t line_first, line_length;
    bool busy[TILLS];
    uint32_t arrivals_left, served, gave_up;
    uint64_t checksum;
};

enum { ARRIVE, PICK, QUEUE_UP, PAY, LEAVE, BREAK_START, BREAK_END };

static Shop shop;

static void schedule(Shop *shop, uint64_t time, uint32_t handler, uint32_t customer) {
    if (shop->queued == QUEUE) __builtin_trap();
    Event event = {time, handler, customer};
    uint32_t at = shop->queued++;
    for (; at > 0 && shop->queue[(at - 1) / 2].time > time; at = (at - 1) / 2) {
        shop->queue[at] = shop->queue[(at - 1) / 2];
    }
    shop->queue[at] = event;
}

static Event next_event(Shop *shop) {
    Event first = shop->queue[0], last = shop->queue[--shop->queued];
    uint32_t at = 0;
    for (uint32_t child; (child = at * 2 + 1) < shop->queued; at = child) {
        if (child + 1 < shop->queued && shop->queue[child + 1].time < shop->queue[child].time) {
            child++;
        }
        if (shop->queue[child].time >= last.time) break;
        shop->queue[at] = shop->queue[child];
    }
    shop->queue[at] = last;
    return first;
}

// The till is taken by the customer who has waited longest; without one it is free.
static void serve(Shop *shop, uint32_t till, uint64_t now) {
    shop->busy[till] = shop->line_length > 0;
    if (!shop->busy[till]) return;
    uint32_t customer = shop->line[shop->line_first].customer;
    shop->checksum = mix(shop->checksum, now - shop->line[shop->line_first].since);
    shop->line_first = (shop->line_first + 1) % QUEUE;
    shop->line_length--;
    schedule(shop, now + 40 + random_below(&shop->random, 80), PAY, customer * TILLS + till);
}

static void on_arrive(Shop *shop, const Event *event) {
    schedule(shop, event->time + random_below(&shop->random, 50), PICK, event->customer);
    if (--shop->arrivals_left > 0) {
        schedule(shop, event->time + random_below(&shop->random, 56), ARRIVE, event->customer + 1);
    }
}

// Picks another thing, or goes to the tills.
static void on_pick(Shop *shop, const Event *event) {
    uint32_t next = random_below(&shop->random, 3) ? PICK : QUEUE_UP;
    schedule(shop, event->time + 5 + random_below(&shop->random, 100), next, event->customer);
}

static void on_queue_up(Shop *shop, const Event *event) {
    if (shop->line_length > 20) {
        shop->gave_up++;
        schedule(shop, event->time + 1, LEAVE, event->customer);
        return;
    }
    uint32_t last = (shop->line_first + shop->line_length++) % QUEUE;
    shop->line[last].customer = event->customer;
    shop->line[last].since = event->time;
    for (uint32_t till = 0; till < TILLS; till++) {
        if (!shop->busy[till]) {
            serve(shop, till, event->time);
            break;
        }
    }
}

static void on_pay(Shop *shop, const Event *event) {
    uint32_t till = event->customer % TILLS;
    shop->served++;
    schedule(shop, event->time + 10, LEAVE, event->customer / TILLS);
    if (random_below(&shop->random, 50) == 0) {
        schedule(shop, event->time, BREAK_START, till);
    } else {
        serve(shop, till, event->time);
    }
}

static void on_leave(Shop *shop, const Event *event) {
    shop->checksum = mix(shop->checksum, event->time ^ event->customer);
}

static void on_break_start(Shop *shop, const Event *event) {
    schedule(shop, event->time + 300, BREAK_END, event->customer);
}

static void on_break_end(Shop *shop, const Event *event) {
    serve(shop, event->customer, event->time);
}

static Handler *const HANDLERS[] = {
    [ARRIVE] = on_arrive,
    [PICK] = on_pick,
    [QUEUE_UP] = on_queue_up,
    [PAY] = on_pay,
    [LEAVE] = on_leave,
    [BREAK_START] = on_break_start,
    [BREAK_END] = on_break_end,
};

int64_t run(int32_t n) {
    shop.queued = shop.line_first = shop.line_length = shop.served = shop.gave_up = 0;
    shop.random = (Random){47};
    shop.arrivals_left = (uint32_t)n;
    shop.checksum = 0;
    for (uint32_t till = 0; till < TILLS; till++) shop.busy[till] = false;
    schedule(&shop, 0, ARRIVE, 0);
    while (shop.queued > 0) {
        Event event = next_event(&shop);
        HANDLERS[event.handler](&shop, &event);
    }
    return (int64_t)mix(shop.checksum, (uint64_t)shop.served << 32 | shop.gave_up);
}

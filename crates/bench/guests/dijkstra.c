// Shortest paths from the corner of a grid of 256 × 256 cells with random costs and walls, by
// Dijkstra's algorithm with a binary heap; `n` grids.
#include "guest.h"

#define SIZE 256
#define FAR UINT32_MAX
#define WALL 0

typedef struct {
    uint32_t distance;
    uint32_t cell;
} Entry;

static uint8_t costs[SIZE * SIZE];
static uint32_t distances[SIZE * SIZE];
// Each cell is queued at most once for each of its neighbours.
static Entry heap[SIZE * SIZE * 4];
static uint32_t queued;

static void push(Entry entry) {
    uint32_t at = queued++;
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (heap[parent].distance <= entry.distance) break;
        heap[at] = heap[parent];
        at = parent;
    }
    heap[at] = entry;
}

static Entry pop(void) {
    Entry top = heap[0], last = heap[--queued];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= queued) break;
        if (child + 1 < queued && heap[child + 1].distance < heap[child].distance) child++;
        if (heap[child].distance >= last.distance) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

static void relax(uint32_t cell, uint32_t distance) {
    if (costs[cell] == WALL) return;
    distance += costs[cell];
    if (distance < distances[cell]) {
        distances[cell] = distance;
        push((Entry){distance, cell});
    }
}

static void shortest_paths(uint32_t start) {
    for (uint32_t cell = 0; cell < SIZE * SIZE; cell++) distances[cell] = FAR;
    distances[start] = 0;
    queued = 0;
    push((Entry){0, start});
    while (queued > 0) {
        Entry nearest = pop();
        // A shorter way was found after this entry had been queued.
        if (nearest.distance != distances[nearest.cell]) continue;
        uint32_t row = nearest.cell / SIZE, column = nearest.cell % SIZE;
        if (row > 0) relax(nearest.cell - SIZE, nearest.distance);
        if (row < SIZE - 1) relax(nearest.cell + SIZE, nearest.distance);
        if (column > 0) relax(nearest.cell - 1, nearest.distance);
        if (column < SIZE - 1) relax(nearest.cell + 1, nearest.distance);
    }
}

int64_t run(int32_t n) {
    Random random = {11};
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        for (uint32_t cell = 0; cell < SIZE * SIZE; cell++) {
            uint8_t cost = (uint8_t)(1 + random_below(&random, 99));
            costs[cell] = random_below(&random, 4) ? cost : WALL;
        }
        shortest_paths(0);
        for (uint32_t cell = 0; cell < SIZE * SIZE; cell++) {
            checksum = mix(checksum, distances[cell]);
        }
    }
    return (int64_t)checksum;
}

// A hash map with open addressing and linear probing, which doubles when it is half full: a mix of
// `n` insertions, look-ups and deletions. Deleting moves later entries of the run back, so there
// are no tombstones.
#include "guest.h"

typedef struct {
    // 0 where the slot is empty.
    uint64_t key;
    uint64_t value;
} Slot;

typedef struct {
    Slot *slots;
    // A power of two, less 1.
    uint32_t mask;
    uint32_t used;
} Map;

static uint64_t memory[(8 << 20) / sizeof(uint64_t)];
static Arena arena;

static Slot *new_slots(uint32_t count) {
    Slot *slots = arena_allocate(&arena, count * (uint32_t)sizeof(Slot));
    for (uint32_t i = 0; i < count; i++) slots[i] = (Slot){0, 0};
    return slots;
}

static uint32_t home(const Map *map, uint64_t key) {
    return (uint32_t)((key * 0x9e3779b97f4a7c15u) >> 40) & map->mask;
}

// The slot that has the key, or the empty one where it would go.
static Slot *find(const Map *map, uint64_t key) {
    uint32_t at = home(map, key);
    while (map->slots[at].key != 0 && map->slots[at].key != key) at = (at + 1) & map->mask;
    return &map->slots[at];
}

static void grow(Map *map) {
    Map bigger = {new_slots((map->mask + 1) * 2), map->mask * 2 + 1, map->used};
    for (uint32_t i = 0; i <= map->mask; i++) {
        if (map->slots[i].key != 0) *find(&bigger, map->slots[i].key) = map->slots[i];
    }
    *map = bigger;
}

static void insert(Map *map, uint64_t key, uint64_t value) {
    Slot *slot = find(map, key);
    if (slot->key == 0) {
        if (map->used * 2 > map->mask) {
            grow(map);
            slot = find(map, key);
        }
        map->used++;
        slot->key = key;
    }
    slot->value = value;
}

static bool erase(Map *map, uint64_t key) {
    Slot *slot = find(map, key);
    if (slot->key == 0) return false;
    uint32_t hole = (uint32_t)(slot - map->slots);
    for (uint32_t at = hole;;) {
        at = (at + 1) & map->mask;
        if (map->slots[at].key == 0) break;
        // An entry may move back to the hole unless its home lies between the two.
        uint32_t distance = (at - home(map, map->slots[at].key)) & map->mask;
        if (distance >= ((at - hole) & map->mask)) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole].key = 0;
    map->used--;
    return true;
}

int64_t run(int32_t n) {
    arena = (Arena){(uint8_t *)memory, sizeof memory, 0};
    Map map = {new_slots(16), 15, 0};
    Random random = {5};
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        uint64_t key = 1 + random_below(&random, (uint32_t)n);
        switch (random_below(&random, 4)) {
        case 0:
        case 1:
            insert(&map, key, (uint64_t)i);
            break;
        case 2:
            checksum += find(&map, key)->value;
            break;
        default:
            checksum = mix(checksum, erase(&map, key));
        }
    }
    uint64_t left = 0;
    for (uint32_t i = 0; i <= map.mask; i++) {
        if (map.slots[i].key != 0) left += mix(map.slots[i].key, map.slots[i].value);
    }
    return (int64_t)mix(mix(checksum, map.used), left);
}

// Conway's game of life: `n` generations on a torus of 128 × 128, from a random start. Cells are
// bytes, and what a cell becomes is decided by branches.
#include "guest.h"

#define SIZE 128

static uint8_t cells[2][SIZE][SIZE];

static uint32_t neighbours(const uint8_t (*grid)[SIZE], uint32_t row, uint32_t column) {
    uint32_t up = row == 0 ? SIZE - 1 : row - 1;
    uint32_t down = row == SIZE - 1 ? 0 : row + 1;
    uint32_t left = column == 0 ? SIZE - 1 : column - 1;
    uint32_t right = column == SIZE - 1 ? 0 : column + 1;
    uint32_t count = 0;
    if (grid[up][left]) count++;
    if (grid[up][column]) count++;
    if (grid[up][right]) count++;
    if (grid[row][left]) count++;
    if (grid[row][right]) count++;
    if (grid[down][left]) count++;
    if (grid[down][column]) count++;
    if (grid[down][right]) count++;
    return count;
}

typedef struct {
    uint32_t births;
    uint32_t deaths;
} Changes;

static Changes generation(const uint8_t (*now)[SIZE], uint8_t (*next)[SIZE]) {
    Changes changes = {0, 0};
    for (uint32_t row = 0; row < SIZE; row++) {
        for (uint32_t column = 0; column < SIZE; column++) {
            uint32_t count = neighbours(now, row, column);
            if (now[row][column]) {
                if (count < 2 || count > 3) {
                    next[row][column] = 0;
                    changes.deaths++;
                } else {
                    next[row][column] = 1;
                }
            } else if (count == 3) {
                next[row][column] = 1;
                changes.births++;
            } else {
                next[row][column] = 0;
            }
        }
    }
    return changes;
}

int64_t run(int32_t n) {
    Random random = {3};
    for (uint32_t row = 0; row < SIZE; row++) {
        for (uint32_t column = 0; column < SIZE; column++) {
            cells[0][row][column] = random_below(&random, 3) == 0;
        }
    }
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        Changes changes = generation(cells[i & 1], cells[~i & 1]);
        checksum = mix(checksum, (uint64_t)changes.births << 32 | changes.deaths);
    }
    return (int64_t)mix_bytes(checksum, &cells[n & 1][0][0], SIZE * SIZE);
}

// The n-body problem: the sun and four planets, `n` steps of a symplectic integrator. Answers the
// bits of the energy at the end.
#include "guest.h"

#define BODIES 5
#define PI 3.141592653589793
#define SOLAR_MASS (4 * PI * PI)
#define YEAR 365.24

typedef struct {
    double x, y, z;
    double vx, vy, vz;
    double mass;
} Body;

static const Body START[BODIES] = {
    {.mass = SOLAR_MASS},
    // Jupiter, Saturn, Uranus, Neptune.
    {4.84143144246472090e+00, -1.16032004402742839e+00, -1.03622044471123109e-01,
     1.66007664274403694e-03 * YEAR, 7.69901118419740425e-03 * YEAR,
     -6.90460016972063023e-05 * YEAR, 9.54791938424326609e-04 * SOLAR_MASS},
    {8.34336671824457987e+00, 4.12479856412430479e+00, -4.03523417114321381e-01,
     -2.76742510726411899e-03 * YEAR, 4.99852801234917238e-03 * YEAR,
     2.30417297573763929e-05 * YEAR, 2.85885980666130812e-04 * SOLAR_MASS},
    {1.28943695621391310e+01, -1.51111514016986312e+01, -2.23307578892655734e-01,
     2.96460137564761618e-03 * YEAR, 2.37847173959480950e-03 * YEAR,
     -2.96589568540237556e-05 * YEAR, 4.36624404335156298e-05 * SOLAR_MASS},
    {1.53796971148509165e+01, -2.59193146099879641e+01, 1.79258772950371181e-01,
     2.68067772490389322e-03 * YEAR, 1.62824170038242295e-03 * YEAR,
     -9.51592254519715870e-05 * YEAR, 5.15138902046611451e-05 * SOLAR_MASS},
};

static Body bodies[BODIES];

// The sun moves so that the whole does not.
static void balance(void) {
    double x = 0, y = 0, z = 0;
    for (uint32_t i = 0; i < BODIES; i++) {
        x += bodies[i].vx * bodies[i].mass;
        y += bodies[i].vy * bodies[i].mass;
        z += bodies[i].vz * bodies[i].mass;
    }
    bodies[0].vx = -x / SOLAR_MASS;
    bodies[0].vy = -y / SOLAR_MASS;
    bodies[0].vz = -z / SOLAR_MASS;
}

static double energy(void) {
    double sum = 0;
    for (uint32_t i = 0; i < BODIES; i++) {
        const Body *a = &bodies[i];
        sum += 0.5 * a->mass * (a->vx * a->vx + a->vy * a->vy + a->vz * a->vz);
        for (uint32_t j = i + 1; j < BODIES; j++) {
            const Body *b = &bodies[j];
            double x = a->x - b->x, y = a->y - b->y, z = a->z - b->z;
            sum -= a->mass * b->mass / __builtin_sqrt(x * x + y * y + z * z);
        }
    }
    return sum;
}

static void step(double time) {
    for (uint32_t i = 0; i < BODIES; i++) {
        Body *a = &bodies[i];
        for (uint32_t j = i + 1; j < BODIES; j++) {
            Body *b = &bodies[j];
            double x = a->x - b->x, y = a->y - b->y, z = a->z - b->z;
            double squared = x * x + y * y + z * z;
            double pull = time / (squared * __builtin_sqrt(squared));
            a->vx -= x * b->mass * pull;
            a->vy -= y * b->mass * pull;
            a->vz -= z * b->mass * pull;
            b->vx += x * a->mass * pull;
            b->vy += y * a->mass * pull;
            b->vz += z * a->mass * pull;
        }
    }
    for (uint32_t i = 0; i < BODIES; i++) {
        bodies[i].x += time * bodies[i].vx;
        bodies[i].y += time * bodies[i].vy;
        bodies[i].z += time * bodies[i].vz;
    }
}

int64_t run(int32_t n) {
    for (uint32_t i = 0; i < BODIES; i++) bodies[i] = START[i];
    balance();
    for (int32_t i = 0; i < n; i++) step(0.01);
    return (int64_t)bits_of(energy());
}

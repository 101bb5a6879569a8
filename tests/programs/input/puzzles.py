# A tour of the interpreter for MicroPython: small integers and big ones, floats, strings, closures,
# generators, classes, exceptions, files, and the way out to the host and back.
# Whatever it prints depends on nothing but this text: no clock, no random numbers, no addresses.
# It must never make the interpreter collect garbage, hence the large heap it is started with: this
# build doesn't look for roots in wasm locals, frees what is in use, and reads out of bounds later.

import cmath
import hashlib
import json
import re
import sys

import host


def queens(n):
    """Counts the ways to set n queens, with three bit sets instead of a board."""
    full = (1 << n) - 1

    def place(columns, left, right):
        if columns == full:
            return 1
        count = 0
        free = full & ~(columns | left | right)
        while free:
            bit = free & -free
            free ^= bit
            count += place(columns | bit, (left | bit) << 1, (right | bit) >> 1)
        return count

    return place(0, 0, 0)


def primes():
    """Yields the primes for ever; each composite waits in a dictionary under its next multiple."""
    waiting = {}
    n = 2
    while True:
        step = waiting.pop(n, None)
        if step is None:
            yield n
            waiting[n * n] = n
        else:
            at = n + step
            while at in waiting:
                at += step
            waiting[at] = step
        n += 1


def pi_digits(count):
    """Machin's formula in big integers: ten digits more than asked for, then cut."""
    unit = 10 ** (count + 10)

    def arctan_inverse(x):
        power = total = unit // x
        sign, divisor = -1, 3
        while power:
            power //= x * x
            total += sign * (power // divisor)
            sign, divisor = -sign, divisor + 2
        return total

    pi = 4 * (4 * arctan_inverse(5) - arctan_inverse(239))
    return str(pi // 10 ** 10)


def fourier(values):
    """A recursive transform; its length must be a power of two."""
    n = len(values)
    if n == 1:
        return values
    even, odd = fourier(values[0::2]), fourier(values[1::2])
    turned = [cmath.exp(-2j * cmath.pi * k / n) * odd[k] for k in range(n // 2)]
    return [e + t for e, t in zip(even, turned)] + [e - t for e, t in zip(even, turned)]


class Matrix:
    def __init__(self, rows):
        self.rows = rows

    def __matmul__(self, other):
        columns = list(zip(*other.rows))
        return Matrix([[sum(a * b for a, b in zip(row, column)) for column in columns]
                       for row in self.rows])

    def __pow__(self, exponent):
        result, base = None, self
        while exponent:
            if exponent & 1:
                result = base if result is None else result @ base
            base = base @ base
            exponent >>= 1
        return result


class Stopped(Exception):
    pass


def unwind(depth):
    """Raises through many frames, each with a cleanup of its own, and counts the cleanups."""
    cleaned = []

    def descend(n):
        try:
            if n == 0:
                raise Stopped("bottom")
            descend(n - 1)
        finally:
            cleaned.append(n)

    try:
        descend(depth)
    except Stopped as stopped:
        return len(cleaned), str(stopped)


def forever(n):
    return forever(n + 1)


def words(path):
    """Counts the words of a file, this one, with the regular expressions of the interpreter."""
    counts = {}
    word = re.compile("[a-zA-Z_]+")
    with open(path) as file:
        for line in file:
            while True:
                found = word.search(line)
                if not found:
                    break
                text = found.group(0)
                counts[text] = counts.get(text, 0) + 1
                line = line[line.find(text) + len(text):]
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:8]


def ask(name, *numbers):
    """Sends numbers to the host as text. What comes back begins with ok or with error."""
    status, _, value = host.call(name, " ".join(str(n) for n in numbers)).partition(" ")
    if status != "ok":
        raise ValueError(value)
    return value


report = {}


def show(name, value):
    report[name] = value
    print(name, value)
    host.call("log", name)


show("arguments", sys.argv[1:])
show("queens", [queens(n) for n in range(4, 9)])
source = primes()
show("primes", [next(source) for _ in range(2000)][-4:])
show("pi", pi_digits(220))
signal = [((7 * k) % 31 - 15) / 4 for k in range(256)]
spectrum = fourier(signal)
show("spectrum", ["%.9f" % abs(z) for z in spectrum[:6]])
show("parseval", abs(sum(abs(z) ** 2 for z in spectrum) / 256 - sum(v * v for v in signal)) < 1e-9)
show("fibonacci", (Matrix([[1, 1], [1, 0]]) ** 900).rows[0][1] % 10 ** 40)
show("unwound", unwind(40))
try:
    forever(0)
except RuntimeError as error:
    show("recursion", str(error))
digest = b"stillframe"
for _ in range(300):
    digest = hashlib.sha256(digest).digest()
show("digest", digest.hex())
show("words", words(sys.argv[0]))

# Out to the host and back, many times, from inside other work.
show("host sum", ask("sum", *range(50)))
total = 0
for n in range(200):
    total += int(ask("square", n))
show("host squares", total)
try:
    ask("refuse", 1)
except ValueError as error:
    show("host refused", str(error))
try:
    host.call("flood", "")
except Exception as error:
    show("host flooded", type(error).__name__)
show("host sorted", sorted([9, 4, 6, 1, 8], key=lambda n: int(ask("square", n - 5))))

with open("report.json", "w") as file:
    json.dump(report, file)
sys.exit(7)

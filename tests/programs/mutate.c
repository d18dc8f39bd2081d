/*
 * mutate: memory whose every word is known at any time, and which never rests.
 *
 *     mutate [--mib TOTAL] [--hot MIB] [--pause-us N]
 *
 * It fills TOTAL MiB; page p in its generation g holds a sequence of words that follows from p and g alone. Then it writes: pages
 * among the first MIB get a new generation, are exchanged, or are written and written back (the same bytes, and dirty all the same);
 * now and then any page. On SIGUSR1 it checks every word and prints a line, on SIGTERM too, and ends.
 *
 * "MUTATE OK ..." or "MUTATE FAILED ..." with exit status 1.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORDS 512

static volatile sig_atomic_t asked, stopped;
static void on_usr1(int number) { (void)number; asked = 1; }
static void on_term(int number) { (void)number; asked = stopped = 1; }

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static uint64_t draw(void)
{
    static uint64_t state = 20;
    return mix(state += 0x9e3779b97f4a7c15ull);
}

static uint64_t (*page)[WORDS];
static uint32_t *generation;

static uint64_t first_word(size_t p) { return mix((uint64_t)p << 32 | generation[p]); }

static void fill(size_t p)
{
    uint64_t word = first_word(p);
    for (int i = 0; i < WORDS; i++)
        page[p][i] = word + (uint64_t)i;
}

static int is_wrong(size_t p)
{
    uint64_t word = first_word(p);
    for (int i = 0; i < WORDS; i++)
        if (page[p][i] != word + (uint64_t)i)
            return 1;
    return 0;
}

static void write_once(size_t pages, size_t hot)
{
    uint64_t chance = draw();
    size_t p = chance % 200 ? draw() % hot : draw() % pages, q = draw() % hot;
    uint32_t was = generation[p];

    switch (chance >> 32 & 3) {
    case 0: /* something new */
        generation[p]++;
        break;
    case 1: /* changed and changed back */
        generation[p]++;
        fill(p);
        generation[p] = was;
        break;
    case 2: /* what another page of the past had */
        generation[p] = was / 2;
        break;
    default: /* both anew */
        generation[p] += 2;
        generation[q]++;
        fill(q);
    }
    fill(p);
}

int main(int argc, char **argv)
{
    size_t mib = 64, hot_mib = 4;
    useconds_t pause_us = 2000;
    uint64_t writes = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long value = strtoul(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--mib"))
            mib = value;
        else if (!strcmp(argv[i], "--hot"))
            hot_mib = value;
        else if (!strcmp(argv[i], "--pause-us"))
            pause_us = (useconds_t)value;
        else
            return fprintf(stderr, "mutate: unknown argument %s\n", argv[i]), 2;
    }
    size_t pages = mib * 256, hot = hot_mib * 256;
    page = mmap(NULL, pages * sizeof *page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    generation = calloc(pages, sizeof *generation);
    if (page == MAP_FAILED || !generation || hot > pages)
        return fprintf(stderr, "mutate: no %zu MiB, or more hot than there is\n", mib), 2;
    for (size_t p = 0; p < pages; p++)
        fill(p);
    signal(SIGUSR1, on_usr1);
    signal(SIGTERM, on_term);
    printf("filled %zu pages\n", pages);
    fflush(stdout);

    for (int failed = 0;;) {
        if (asked) {
            size_t wrong = 0;
            asked = 0;
            for (size_t p = 0; p < pages; p++)
                wrong += (size_t)is_wrong(p);
            failed |= wrong > 0;
            printf("MUTATE %s %zu of %zu pages wrong after %llu writes\n", failed ? "FAILED" : "OK", wrong, pages,
                   (unsigned long long)writes);
            fflush(stdout);
            if (stopped)
                return failed;
        }
        for (int i = 0; i < 4 && hot; i++, writes++)
            write_once(pages, hot);
        usleep(hot ? pause_us : 20000);
    }
}

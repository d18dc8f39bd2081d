/* A guest with memory, for the stand-ins of Xen's libraries. FAKE_PAGES says how many pages (none: no memory), FAKE_HVM
 * that it is one of HVM's kind. Some are page tables, some holes. It writes to its memory each time that somebody maps
 * some of it; once log-dirty is on, those writes are recorded. */
#ifndef GUEST_H
#define GUEST_H
#include <stdint.h>

enum { PAGE = 4096, FRAMES = 1000 /* a paravirtual guest's frames begin here */, WHOLE = 3584 /* no holes from here on */ };
enum { PLAIN = 0, TABLE = 0x10000000, HOLE = 0xf0000000u };

extern unsigned long guest_pages;
extern int guest_hvm, guest_logdirty;
extern uint8_t *guest_dirty; /* a byte for each page */

unsigned guest_type(unsigned long pfn);
uint8_t *guest_page(unsigned long pfn);
void guest_runs(void);
#endif

"""Slow peers: what takes long for one file must not take long for all, and a fast holder helps where there is one."""

from osp2p.lab.table import KB, MB, Arrives, File, Get, Hold, InParallel, NotHeldUp, Row, Scenario, Share, Track

# Each of these comes from one slow holder: two seconds.
SLOW = tuple(File(f"slow{number}.bin", 64 * KB) for number in range(1, 7))
# These would take a minute from any of their three slow holders, but somebody fast holds them, too.
BESIDE_SIMPLE = File("beside-simple.bin", 4 * MB)
BESIDE_SHARED = File("beside-shared.bin", 4 * MB)

SCENARIO = Scenario(
    title="peers that trickle hold up neither each other's files nor those that somebody fast holds, too",
    rows=(
        Row(who="tracker", when=1, does=Track()),
        *(
            Row(who=f"snail{number}", when=2, does=Hold(files=(file,), rate=32 * KB))
            for number, file in enumerate(SLOW, start=1)
        ),
        Row(who="sloth", when=2, does=Hold(files=(BESIDE_SIMPLE, BESIDE_SHARED), rate=64 * KB, peers=3)),
        Row(who="hare", when=2, does=Hold(files=(BESIDE_SIMPLE,))),
        Row(who="falcon", when=2, does=Share(files=(BESIDE_SHARED,))),
        Row(
            who="dora",
            when=3,
            does=Get(files=(*SLOW, BESIDE_SIMPLE, BESIDE_SHARED)),
            expect=(
                Arrives(),
                InParallel(below=0.6),
                NotHeldUp(file=BESIDE_SIMPLE, below=0.25),
                NotHeldUp(file=BESIDE_SHARED, below=0.25),
            ),
        ),
    ),
)

"""Bad peers: the five families of attacks that every class invents, each beside an honest holder."""

from osp2p.lab.table import KB, Arrives, Attack, Attacks, File, Get, Hold, Row, Scenario, Serves, Share, Track

FAMILIES = ("endless", "silence", "truncated", "wrong", "garbage")

# What only one honest peer holds, and two evil ones of one family claim, too.
TARGETS = {family: tuple(File(f"{family}/{size} kB.bin", size * KB) for size in (1, 30, 400)) for family in FAMILIES}
ALL_TARGETS = tuple(file for files in TARGETS.values() for file in files)
# What all families claim, while a sharer with content ids holds it.
SHARED = tuple(File(f"shared/{size} kB.bin", size * KB) for size in (2, 300, 3000))

SCENARIO = Scenario(
    title="whatever bad peers send, every file arrives, verified, from the honest holder beside them",
    rows=(
        Row(who="tracker", when=1, does=Track()),
        Row(who="anna", when=2, does=Hold(files=ALL_TARGETS), expect=(Serves(),)),
        Row(who="ben", when=2, does=Share(files=SHARED), expect=(Serves(),)),
        *(
            Row(who=family, when=3, does=Attack(mode=family, files=(*TARGETS[family], *SHARED), peers=2))
            for family in FAMILIES
        ),
        Row(who="mixture", when=3, does=Attack(files=ALL_TARGETS, peers=3), expect=(Attacks(at_least=1),)),
        Row(who="dora", when=4, does=Get(files=(*ALL_TARGETS, *SHARED)), expect=(Arrives(),)),
    ),
)

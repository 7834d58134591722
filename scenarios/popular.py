"""Popularity: a tracker that puts 250 fake peers into every answer, and 200 peers that are real."""

from osp2p.lab.table import KB, MB, Arrives, File, Get, Hold, Knows, Row, Scenario, Serves, Share, Track

HIT = File("hit of the year.bin", 2 * MB)
RARE = tuple(File(f"rare/{number}.bin", number * 50 * KB) for number in range(1, 5))

SCENARIO = Scenario(
    title="250 fake holders stand in every answer and 200 peers are logged in, and everything is found",
    rows=(
        Row(who="tracker", when=1, does=Track(fakes=True), expect=(Knows(peers=450),)),
        Row(who="crowd", when=2, does=Hold(files=(HIT,), peers=200), expect=(Serves(),)),
        Row(who="anna", when=2, does=Share(files=RARE[:2]), expect=(Serves(),)),
        Row(who="ben", when=2, does=Hold(files=RARE[2:]), expect=(Serves(),)),
        Row(who="dora", when=3, does=Get(files=(HIT, *RARE)), expect=(Arrives(),)),
    ),
)

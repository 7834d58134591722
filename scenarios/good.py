"""The main job: some peers share real files, and one fetches all of them at once."""

from osp2p.lab.table import MB, Arrives, File, Get, Knows, Row, Scenario, Serves, Share, Track

EVERYBODY_HAS = (
    File("film.bin", 24 * MB),
    File("song.bin", 5 * MB),
    File("empty.txt", 0),
    File("one byte", 1),
    File("photos/2007/cat.jpg", 341_177),
    File("photos/2007/dog.jpg", 262_144),
    File("photos/größe.png", 98_765),
)
ANNA_ALONE_HAS = (
    File("anna/diary of a peer.txt", 12_345),
    File("anna/deep/er/and/deeper.txt", 100),
    File("anna/ünï cödé ☃.txt", 3_000),
)
BEN_ALONE_HAS = (
    File("ben/100%.txt", 4_096),
    File("ben/%41 is not A.txt", 4_097),
    File(b"ben/raw \xff\xfe bytes.bin", 70_000),
)
CLARA_ALONE_HAS = (
    File("clara/-begins with a dash", 262_145),
    File("clara/what? a * and [brackets]", 1_000_000),
    File("clara/a=b & $HOME 'quoted' \"twice\".sh", 777),
)
EVERYTHING = (*EVERYBODY_HAS, *ANNA_ALONE_HAS, *BEN_ALONE_HAS, *CLARA_ALONE_HAS)

SCENARIO = Scenario(
    title="three peers share files of all sizes and names, and one peer fetches all of them at once",
    rows=(
        Row(who="tracker", when=1, does=Track(), expect=(Knows(peers=3),)),
        Row(who="anna", when=2, does=Share(files=(*EVERYBODY_HAS, *ANNA_ALONE_HAS)), expect=(Serves(),)),
        Row(who="ben", when=2, does=Share(files=(*EVERYBODY_HAS, *BEN_ALONE_HAS)), expect=(Serves(),)),
        Row(who="clara", when=2, does=Share(files=(*EVERYBODY_HAS, *CLARA_ALONE_HAS)), expect=(Serves(),)),
        Row(who="dora", when=3, does=Get(files=EVERYTHING), expect=(Arrives(),)),
    ),
)

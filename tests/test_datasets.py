"""Data sets on disk: what is taken for a picture and a class, the order, bad input, and that all kinds agree."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelgrad import images
from pixelgrad.data import Files, is_picture, paths_of, picture, sorted_classes, within
from pixelgrad.datasets import open_data
from pixelgrad.errors import DataError
from tests.miniature import NAMES, miniature

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def drawn(i: int, kind: str = "PNG") -> bytes:
    """A picture that says its number in every pixel."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (i % 256, i // 256, 7)).save(file, kind)
    return file.getvalue()


def number(image: Image.Image | str) -> int | str:
    """Which picture it is, or why it is none."""
    return image if isinstance(image, str) else (p := image.getpixel((0, 0)))[0] + 256 * p[1]


def seen(data, start=0, stop=None):
    """Name, label by name, and number of each picture."""
    names = data.classes or ()
    return [
        (s.name, None if s.label is None else names[s.label], number(s.image))
        for s in data.read(start, len(data) if stop is None else stop)
    ]


def put(root: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(drawn(i))
    return root


# ---------------------------------------------------------------------- folders


def test_a_folder_in_the_order_of_its_names_bytes(tmp_path):
    put(tmp_path, "b.png", "a.png", "Z.PNG", "é.png", "sub/x.png", "sub.png")
    (tmp_path / "notes.txt").write_text("no picture")
    data = open_data(tmp_path)
    assert [s[0] for s in seen(data)] == ["Z.PNG", "a.png", "b.png", "sub.png", "sub/x.png", "é.png"]
    assert [s[2] for s in seen(data)] == [2, 1, 0, 5, 4, 3]
    assert data.classes is None
    assert [s.id for s in data.read(2, 99)] == [2, 3, 4, 5]
    assert len(data) == 6


def test_names_that_are_not_unicode(tmp_path):
    odd = os.fsdecode(b"\xff.png")
    put(tmp_path, "z.png", odd)
    data = open_data(tmp_path)
    assert [s[0] for s in seen(data)] == ["z.png", odd]
    assert data.fingerprint() == open_data(tmp_path).fingerprint()


def test_folders_are_classes_where_all_pictures_are_in_them(tmp_path):
    put(tmp_path, "dog/b.png", "cat/deep/a.png")
    assert seen(open_data(tmp_path)) == [("cat/deep/a.png", "cat", 1), ("dog/b.png", "dog", 0)]
    put(tmp_path, "loose.png")
    assert open_data(tmp_path).classes is None


def test_hidden_and_linked_folders(tmp_path):
    put(tmp_path, "a/1.png", "a/.2.png", ".git/3.png", "a/._1.png")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = seen(open_data(tmp_path))
    assert found == [("a/1.png", None, 0), ("gone.png", None, found[1][2])]
    assert found[1][2].startswith("no such file")


def test_the_fingerprint_is_of_names_sizes_and_classes(tmp_path):
    put(tmp_path, "a/1.png", "b/2.png")
    first = open_data(tmp_path).fingerprint()
    assert open_data(tmp_path).fingerprint() == first
    (tmp_path / "a" / "1.png").write_bytes(drawn(0) + b"more")
    second = open_data(tmp_path).fingerprint()
    put(tmp_path, "a/1.png")
    (tmp_path / "a").rename(tmp_path / "c")
    third = open_data(tmp_path).fingerprint()
    assert len({first, second, third}) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "holds no pictures: it is empty"),
        (lambda p: (p / "a.txt").write_text("x"), "none of its 1 files ends in jpg, jpeg, png"),
        (lambda p: (p / "a.tar").write_bytes(b"x" * 5000), "a.tar is no tar, or a compressed one"),
        (lambda p: (p / "a.parquet").write_bytes(b"x"), "a.parquet cannot be read as Parquet"),
        (lambda p: pq.write_table(pa.table({"x": [1]}), p / "a.parquet"), "has no column of pictures' bytes"),
        (lambda p: tarfile.open(p / "a.tar", "w").close(), "no member ends as one"),
    ],
)
def test_a_folder_without_pictures_is_one_error(tmp_path, make, message):
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder)
    with pytest.raises(DataError) as caught:
        open_data(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_thing(tmp_path):
    with pytest.raises(DataError, match="no such folder or file"):
        open_data(tmp_path / "none")
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"is no data set; known are: .*WebDataset"):
        open_data(tmp_path / "x.bin")


def test_what_cannot_be_read_says_why_in_one_line(tmp_path):
    put(tmp_path, "a.png")
    Image.effect_noise((40, 40), 60).save(tmp_path / "b.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:800])
    (tmp_path / "c.jpg").write_text("text\nof two lines")
    os.mkfifo(tmp_path / "d.png")
    found = [s[2] for s in seen(open_data(tmp_path))]
    assert found[0] == 0
    assert found[1].startswith("is damaged")
    assert found[2].startswith("is not a picture")
    assert found[3] == "is not a file"


# ---------------------------------------------------------------------- lists


def test_a_list_with_classes(tmp_path):
    put(tmp_path, "x/b.png", "a.png", "c.png")
    (tmp_path / "list.txt").write_text("# mine\nx/b.png, dog\n\na.png\tcat\n./c.png\n")
    assert seen(open_data(tmp_path / "list.txt")) == [
        ("a.png", "cat", 1),
        ("c.png", None, 2),
        ("x/b.png", "dog", 0),
    ]
    (tmp_path / "list.csv").write_text('path,label\r\n"c.png",10\r\na.png,9\r\n')
    data = open_data(tmp_path / "list.csv")
    assert data.classes == ("9", "10")
    assert seen(data) == [("a.png", "9", 1), ("c.png", "10", 2)]
    (tmp_path / "plain.txt").write_text("a.png\r\n")
    assert open_data(tmp_path / "plain.txt").classes is None


def test_a_comma_in_a_name(tmp_path):
    put(tmp_path, "a,b.png")
    (tmp_path / "list.txt").write_text("a,b.png\n")
    assert seen(open_data(tmp_path / "list.txt")) == [("a,b.png", None, 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no pictures"),
        ("nowhere.png\n", "lists no picture that is there; nowhere.png is looked for in"),
        ("a.png\n./a.png\n", "line 2: a.png is there already, in line 1"),
        ("a\0b", "is no list of pictures"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    put(tmp_path, "a.png")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        open_data(tmp_path / "list.txt")
    (tmp_path / "list.csv").write_text("a.png,cat,more\n")
    with pytest.raises(DataError, match="line 1: 3 columns"):
        open_data(tmp_path / "list.csv")


# ---------------------------------------------------------------------- tars


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def test_webdataset_conventions(tmp_path):
    path = tar(
        tmp_path / "a.tar",
        {
            "d/1.png": drawn(1),
            "d/1.cls": b"7\n",
            "d/2.txt": b"a caption",
            "d/2.left.png": drawn(2),
            "d/2.seg.png": drawn(99),
            "d/3.json": b'{"label": "cat"}',
            "d/3.jpg": drawn(3),
            "d/4.txt": b"12",
            "d/4.png": drawn(4),
            "d/readme": b"x",
            "x" * 150 + ".png": drawn(5),
        },
    )
    assert seen(open_data(path)) == [
        ("a.tar/d/1.png", "7", 1),
        ("a.tar/d/2.left.png", None, 2),
        ("a.tar/d/3.jpg", "cat", 3),
        ("a.tar/d/4.png", "12", 4),
        ("a.tar/" + "x" * 150 + ".png", None, 5),
    ]
    assert open_data(path).classes == ("7", "12", "cat")


def test_tars_of_webdatasets_own_writer(tmp_path):
    wds = pytest.importorskip("webdataset")
    with wds.TarWriter(str(tmp_path / "a.tar")) as sink:
        for i in range(5):
            sink.write({"__key__": f"{i:03}", "png": drawn(i), "cls": str(10 - i).encode()})
    assert seen(open_data(tmp_path / "a.tar")) == [(f"a.tar/{i:03}.png", str(10 - i), i) for i in range(5)]


def test_several_tars_and_places_across_them(tmp_path):
    for t in range(3):
        tar(tmp_path / f"s-{t:02}.tar", {f"{i}.png": drawn(10 * t + i) for i in range(4)})
    data = open_data(tmp_path)
    assert [s[2] for s in seen(data)] == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    for start in range(13):
        assert [s[2] for s in seen(data, start, start + 5)] == [s[2] for s in seen(data)][start : start + 5]
    for pattern in ("s-{00..02}.tar", "s-*.tar", "s-{00,01,02}.tar"):
        assert seen(open_data(tmp_path / pattern)) == seen(data)
        assert open_data(tmp_path / pattern).fingerprint() == data.fingerprint()
    assert len(open_data(tmp_path / "s-{01..02}.tar")) == 8
    with pytest.raises(DataError, match=r"no such file: .*s-03\.tar"):
        open_data(tmp_path / "s-{02..03}.tar")
    with pytest.raises(DataError, match="no file is like"):
        open_data(tmp_path / "t-*.tar")


@pytest.mark.parametrize("cut", [512, 700, 1024, 1500, 1024 * 3 + 100, 1024 * 9])
def test_of_a_tar_that_is_cut_off_all_that_is_whole_counts(tmp_path, cut):
    """Each member here has one block of header and one of content."""
    whole = tar(tmp_path / "b.tar", {f"{i}.png": drawn(i) for i in range(10)})
    tar(tmp_path / "a.tar", {"x.png": drawn(77)})
    whole.write_bytes(whole.read_bytes()[:cut])
    found = seen(open_data(tmp_path))
    assert [s[2] for s in found[:-1]] == [
        77,
        *(i for i in range(10) if 1024 * i + 512 + len(drawn(i)) <= cut),
    ]
    assert found[-1][0] == "b.tar"
    assert "cut off" in found[-1][2] or "unexpected end" in found[-1][2]


def test_a_damaged_tar_among_others_is_one_row(tmp_path):
    tar(tmp_path / "a.tar", {"x.png": drawn(1)})
    (tmp_path / "b.tar").write_bytes(b"\x1f\x8b" + b"x" * 3000)
    (tmp_path / "c.tar").write_bytes(b"")
    found = seen(open_data(tmp_path))
    assert [s[0] for s in found] == ["a.tar/x.png", "b.tar", "c.tar"]
    assert "compressed" in found[1][2]


# ---------------------------------------------------------------------- Parquet


def test_parquet_as_hugging_face_writes_it(tmp_path):
    rows = [{"bytes": drawn(i), "path": f"{i}.png"} for i in range(7)]
    rows[3] = {"bytes": None, "path": "3.png"}
    rows[5] = {"bytes": b"nonsense", "path": "5.png"}
    table = pa.table({"image": rows, "label": [0, 1, 0, 1, 5, 1, None]})
    noted = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(noted)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    data = open_data(tmp_path)
    assert data.classes == ("cat", "dog")
    found = seen(data)
    assert [s[:2] for s in found] == [
        (f"a.parquet/{i}", c) for i, c in enumerate(["cat", "dog", "cat", "dog", None, "dog", None])
    ]
    assert [s[2] for s in found[:3]] == [0, 1, 2]
    assert found[3][2] == "has no bytes"
    assert found[5][2].startswith("is not a picture")
    assert seen(data, 2, 5) == found[2:5]


def test_parquet_of_plain_bytes_in_several_files(tmp_path):
    for f in range(2):
        table = pa.table({"img": [drawn(10 * f + i) for i in range(4)], "label": ["b", "a", "b", "c"]})
        pq.write_table(table, tmp_path / f"p{f}.parquet", row_group_size=2)
    (tmp_path / "p2.parquet").write_bytes(b"PAR1")
    data = open_data(tmp_path)
    assert data.classes == ("a", "b", "c")
    found = seen(data)
    assert [s[2] for s in found[:8]] == [0, 1, 2, 3, 10, 11, 12, 13]
    assert [s[0] for s in found[4:]] == [*(f"p1.parquet/{i}" for i in range(4)), "p2.parquet"]
    assert "cannot be read as Parquet" in found[8][2]


def test_numbers_as_classes_in_parquet(tmp_path):
    pq.write_table(pa.table({"image": [drawn(0), drawn(1)], "label": [10, 9]}), tmp_path / "a.parquet")
    assert seen(open_data(tmp_path / "a.parquet")) == [("a.parquet/0", "10", 0), ("a.parquet/1", "9", 1)]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    from pixelgrad.datasets import parquet

    pq.write_table(pa.table({"image": [drawn(0)]}), tmp_path / "a.parquet")
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'pixelgrad\[scale\]'"):
        open_data(tmp_path)


# ---------------------------------------------------------------------- all kinds


@pytest.fixture
def kinds(tmp_path):
    """The same 30 pictures in four kinds of data."""
    rng = np.random.default_rng(0)
    names = [f"c{i % 3}/{i:02}.png" for i in range(30)]
    bytes_of = {}
    for name in names:
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(file, "PNG")
        bytes_of[name] = file.getvalue()
        put(tmp_path / "tree", name)
        (tmp_path / "tree" / name).write_bytes(bytes_of[name])
    names.sort()
    (tmp_path / "tree" / "list.txt").write_text("".join(f"{n}\t{n[:2]}\n" for n in names))
    members = {}
    for n in names:
        members |= {n: bytes_of[n], n.replace("png", "cls"): n[:2].encode()}
    tar(tmp_path / "a.tar", members)
    table = pa.table({"image": [bytes_of[n] for n in names], "label": [n[:2] for n in names]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    return [
        open_data(p)
        for p in (
            tmp_path / "tree",
            tmp_path / "tree" / "list.txt",
            tmp_path / "a.tar",
            tmp_path / "a.parquet",
        )
    ]


def test_all_kinds_give_the_same_pictures_whoever_reads_them(kinds):
    whole = [[(s.id, s.label, s.image.tobytes()) for s in data.read(0, 30)] for data in kinds]
    assert all(one == whole[0] for one in whole)
    assert len({pixels for _, _, pixels in whole[0]}) == 30
    for data in kinds:
        other = pickle.loads(pickle.dumps(data))
        assert other.fingerprint() == data.fingerprint()

        def read(start, data=other):
            return [(s.id, s.label, s.image.tobytes()) for s in data.read(start, start + 3)]

        with ThreadPoolExecutor(4) as pool:
            found = [row for rows in pool.map(read, range(0, 30, 3)) for row in rows]
        assert found == whole[0]


def test_tinyimagenet_has_the_names_of_its_classes(tmp_path):
    root = miniature(tmp_path / "tiny", train=3, val=2)
    data = open_data(root / "val")
    assert data.classes == tuple(names.partition(",")[0] for names in NAMES.values())
    assert [(s.name, s.label) for s in data.read(0, 9)] == [
        (f"images/val_{k}_{i}.JPEG", k) for k in range(3) for i in range(2)
    ]
    train = open_data(root / "train")
    assert train.classes == data.classes
    assert [s.label for s in train.read(0, 99)] == [0] * 3 + [1] * 3 + [2] * 3
    with pytest.raises(DataError, match="give one of its folders"):
        open_data(root)


# ---------------------------------------------------------------------- pieces


def test_places_in_parts():
    starts = [0, 3, 3, 7, 8]
    flat = [(p, i) for p in range(4) for i in range(starts[p + 1] - starts[p])]
    for start in range(9):
        for stop in range(start, 12):
            found = [(p, i) for p, rows in within(starts, start, stop) for i in rows]
            assert found == flat[start:stop]


def test_classes_are_sorted_as_numbers_and_names():
    assert sorted_classes(["b", "10", "9", "a", "9"]) == ("9", "10", "a", "b")


def test_what_is_taken_for_a_picture():
    assert is_picture("a.JPG")
    assert not is_picture(".a.jpg")
    assert not is_picture("jpg")
    assert paths_of(Path("nowhere"), ".tar") is None


def test_bytes_are_read_as_files_are(tmp_path):
    put(tmp_path, "a.png")
    file = images.read(tmp_path / "a.png")
    inside = picture("x", (tmp_path / "a.png").read_bytes())
    assert file.tobytes() == inside.tobytes()


def test_bytes_have_the_limits_that_files_have(monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    assert picture("x", drawn(1)) == f"has {len(drawn(1))} bytes; at most 10 are read"


def test_threads_leave_the_warnings_as_they_were(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(200)))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: images.read(tmp_path / f"{i}.png"), range(200)))
    assert warnings.filters == before
    with images.quiet(), pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_a_listing_with_nothing_in_it(tmp_path):
    with pytest.raises(DataError, match="holds no pictures"):
        Files(tmp_path, [])

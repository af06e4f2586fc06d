from __future__ import annotations

from jupyter_containers.commands.images import files_page
from jupyter_containers.engine.files.image_files import ImageFiles, LayerContent, LayerFile
from jupyter_containers.notebook import objects
from jupyter_containers.notebook.drawing import layer_tree
from jupyter_containers.notebook.pages import Page as ShownPage
from tests.support.pages import SVG, Page, drawings, well_formed, words


def layer(index: int, size: int, wasted: int = 0, **more: object) -> LayerContent:
    values = {"digest": "d", "diff_id": "f", "chain_id": "c", "created_by": f"RUN {index}"} | more
    return LayerContent(index=index, size=size, added=1, changed=0, removed=0, wasted=wasted, **values)  # type: ignore[arg-type]


def test_layers_are_bars_with_what_is_wasted_dashed() -> None:
    files = (LayerFile(0, "a", "added", "file", 30, hidden_by=1), LayerFile(1, "a", "changed", "file", 10))
    image = ImageFiles("app", (layer(0, 30, 30), layer(1, 10, line=3)), files)
    html = well_formed(objects.files_html(image))
    (drawing,) = drawings(html)
    boxes = list(drawing.iter(f"{SVG}rect"))
    assert [box.get("stroke-dasharray") is not None for box in boxes] == [False, True, False]
    assert "RUN 0 (30B wasted)" in [" ".join(text.split()) for text in words(drawing)]
    page = Page.of(html)
    assert page.texts("summary") == [
        "layer 0, 30B: 1 added; 30B wasted RUN 0",
        "layer 1, line 3 of the Dockerfile, 10B: 1 added RUN 1",
    ]
    assert page.texts("li") == ["+ added a 30B, hidden by layer 1", "~ changed a 10B"]
    assert objects.files_text(image).splitlines()[0] == (
        "Files of app: 2 layers, 40B, of which 30B are wasted: later layers hide them"
    )


def test_directories_unfold_and_chains_of_them_are_one() -> None:
    files = tuple(LayerFile(0, f"usr/lib/x/{name}", "added", "file", 1) for name in "ab")
    html = well_formed(layer_tree.html(ImageFiles("app", (layer(0, 2),), files)))
    assert Page.of(html).texts("summary")[1] == "usr/lib/x/ 2B, 2 entries"


def test_the_tree_of_many_files_is_bounded_and_counts_the_rest() -> None:
    files = tuple(LayerFile(0, f"d{number // 500}/f{number}", "added", "file", number) for number in range(65_000))
    image = ImageFiles("app", (layer(0, sum(each.size for each in files)),), files)
    html = well_formed(layer_tree.html(image))
    assert len(html) < 300_000
    assert html.count("<li>") <= 1_200
    assert "not unfolded here" in html
    shown = ShownPage(files_page(image, full=False))
    assert len(shown["files"]) == 65_000
    assert len(repr(shown)) < 50_000
    assert "… 64800 more rows are in page['files']" in repr(shown)
    assert len(well_formed(shown._repr_html_())) < 400_000


def test_hostile_names_are_spelled() -> None:
    name = "<script>\x1b[2J\udcff"
    files = (LayerFile(0, f"{name}/{name}", "added", "file", 1),)
    html = well_formed(objects.files_html(ImageFiles(name, (layer(0, 1, created_by=name),), files)))
    assert r"&lt;script&gt;\x1b[2J\xff" in html
    assert "<script" not in html
    html.encode()
    assert repr(ShownPage(files_page(ImageFiles(name, (layer(0, 1),), files), full=False))).encode()

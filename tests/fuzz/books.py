"""An audit of a tracker's books: that each statement in them agrees with all the others."""

from __future__ import annotations

from osp2p.tracker.holdings import Content
from osp2p.tracker.registry import Registry


def audit(registry: Registry) -> None:
    """Check that the books agree with themselves.

    Raises:
        AssertionError: they do not.
    """
    names = list(registry.names.since(b""))
    assert names == sorted(registry.by_name)
    assert len(registry.names) == len(names)
    contents = [content for name in names for content in registry.contents(name)]
    assert len(set(map(id, contents))) == len(contents)
    for name in names:
        _audit_name(registry, name)
    _audit_peers(registry, contents)
    b3s = {content.b3 for content in contents if content.b3 is not None}
    assert registry._by_b3.keys() == b3s
    for b3 in b3s:
        assert set(registry.with_b3(b3)) == {content for content in contents if content.b3 == b3}


def _audit_name(registry: Registry, name: bytes) -> None:
    contents = registry.contents(name)
    named = [content.b3 for content in contents if content.b3 is not None]
    assert len(named) == len(set(named))
    assert all(content.name == name for content in contents)
    rivals = contents[0].rivals
    assert all(content.rivals is rivals for content in contents)
    assert (rivals is None) == (len(contents) == 1)
    default = registry.default(name)
    assert 1 <= len(default) <= 2
    assert set(default) <= set(contents)
    for content in contents:
        holders = [*content.complete, *content.partial]
        assert any(not peer.gone for peer in holders) or any(
            name in peer.files or name in peer.parts for peer in holders
        )
        for peer in content.complete:
            assert peer.gone or peer.files.get(name) is content
        for peer in content.partial:
            assert peer.gone or peer.parts.get(name) is content


def _audit_peers(registry: Registry, contents: list[Content]) -> None:
    held = 0
    for peer in registry.peers:
        assert not peer.gone
        assert peer in registry.at_address(peer.address)
        assert not peer.files.keys() & peer.parts.keys()
        for name, content in [*peer.files.items(), *peer.parts.items()]:
            assert content in registry.contents(name)
            assert peer in (content.partial if name in peer.parts else content.complete)
            held += 1
    assert registry.registrations >= held
    places = sum(len(content.complete) + len(content.partial) - content.gone for content in contents)
    assert registry.registrations == places

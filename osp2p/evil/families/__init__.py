"""The attacks, one module a family; what is imported here is all there is."""

from osp2p.evil.families import endless, garbage, lines, requests, silence, truncated, wrong

FAMILIES = (endless, garbage, lines, requests, silence, truncated, wrong)

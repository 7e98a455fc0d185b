"""Rules over a whole fleet: the built-in ones, and those that other packages install.

A package adds a rule with an entry point of the group ``zejzl_ray.fleet_validators`` that names a class
without arguments, or an object, with a ``name`` and a method ``check(context)``.
"""

from zejzl_ray.fleet.validators.protocol import GROUP, Validator
from zejzl_ray.fleet.validators.registry import BUILT_IN, all_validators, run_validators

__all__ = ["BUILT_IN", "GROUP", "Validator", "all_validators", "run_validators"]

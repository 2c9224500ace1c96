"""The kinds of number in a profile, for the fields of its parts.

Singular names are one number with its own source; plural names an array. The `Plain` ones belong
to a table that states one source for all its numbers (`quantity.Fitted`).
"""

from __future__ import annotations

from typing import Annotated

from hardware_profiles.quantity import Array, Number, Scalar, of

Time = Annotated[Scalar, of("time", zero=True)]
Bytes = Annotated[Scalar, of("bytes", zero=True)]
Bandwidth = Annotated[Scalar, of("bandwidth")]
Compute = Annotated[Scalar, of("compute")]
Power = Annotated[Scalar, of("power")]
Price = Annotated[Scalar, of("price", zero=True)]
Ratio = Annotated[Scalar, of("ratio")]
BytesPerLogit = Annotated[Scalar, of("bytes per logit", zero=True)]
EnergyPerFlop = Annotated[Scalar, of("energy per flop", zero=True)]
EnergyPerByte = Annotated[Scalar, of("energy per byte", zero=True)]

PlainTime = Annotated[Number, of("time", zero=True)]
PlainBytes = Annotated[Number, of("bytes", zero=True)]
PlainBandwidth = Annotated[Number, of("bandwidth")]
PlainRatio = Annotated[Number, of("ratio")]
Times = Annotated[Array, of("time", zero=True)]
Ratios = Annotated[Array, of("ratio")]
Bandwidths = Annotated[Array, of("bandwidth")]

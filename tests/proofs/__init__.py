"""Proofs that nothing is lost and nothing is sent twice: real workers, killed, paused and doubled while they work.

``make test`` runs a small cut of each; what is marked ``slow`` is the whole of it, for ``make soak``.
"""
